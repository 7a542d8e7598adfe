// SPDX-License-Identifier: Apache-2.0
// A communicator failed: the job cannot end orderly, so its Environment must not try.
#include <gtest/gtest.h>
#include <mpi.h>

#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::mpi {
namespace {

TEST(FailedJobTest, EnvironmentSkipsTheCollectiveEnd) {
  {
    const Environment environment;
    Comm part = environment.world().split(0, 0);
    part.mark_failed();
    EXPECT_TRUE(environment.world().failed());
  }
  int finalized = 1;
  MPI_Finalized(&finalized);
  EXPECT_EQ(finalized, 0);
  MPI_Finalize();  // the test itself is orderly
}

}  // namespace
}  // namespace bunchtrain::mpi
