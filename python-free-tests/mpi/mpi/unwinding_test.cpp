// SPDX-License-Identifier: Apache-2.0
// One rank throws: its Environment must not wait for the others in MPI_Finalize.
#include <gtest/gtest.h>
#include <mpi.h>

#include <stdexcept>

#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::mpi {
namespace {

bool is_finalized() {
  int flag = 0;
  MPI_Finalized(&flag);
  return flag != 0;
}

TEST(UnwindingTest, EnvironmentDoesNothingWhileAnExceptionPasses) {
  int rank = -1;
  try {
    const Environment environment;
    rank = environment.world().rank();
    throw std::runtime_error("rank fails");
  } catch (const std::runtime_error&) {
    EXPECT_FALSE(is_finalized());
  }
  // All ranks come here; without the rule above the first one would have waited for the others already.
  EXPECT_GE(rank, 0);
  MPI_Finalize();
  EXPECT_TRUE(is_finalized());
}

}  // namespace
}  // namespace bunchtrain::mpi
