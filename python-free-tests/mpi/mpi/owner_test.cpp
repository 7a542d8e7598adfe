// SPDX-License-Identifier: Apache-2.0
// A program under mpirun that leaves MPI to the library.
#include <gtest/gtest.h>
#include <mpi.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::mpi {
namespace {

bool asked(int (*question)(int*)) {
  int flag = 0;
  question(&flag);
  return flag != 0;
}

// One test: MPI starts once per process.
TEST(OwnerTest, EnvironmentInitialisesAndFinalises) {
  ASSERT_FALSE(asked(MPI_Initialized));
  {
    const Environment environment;
    EXPECT_TRUE(asked(MPI_Initialized));
    EXPECT_TRUE(environment.launch().by_mpi);
    EXPECT_EQ(environment.launch().launcher, "mpirun");
    EXPECT_EQ(environment.world().size(), environment.launch().announced_tasks);
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    EXPECT_GE(level, MPI_THREAD_FUNNELED);
    EXPECT_EQ(environment.world().all_sum(1), environment.world().size());
    {
      const Environment nested;
      EXPECT_EQ(nested.world().size(), environment.world().size());
    }
    EXPECT_FALSE(asked(MPI_Finalized));
  }
  EXPECT_TRUE(asked(MPI_Finalized));
  EXPECT_THROW(Environment(), CommError);
}

}  // namespace
}  // namespace bunchtrain::mpi
