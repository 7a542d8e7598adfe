// SPDX-License-Identifier: Apache-2.0
// An application that initialised MPI itself (this program's main) uses the library.
#include <gtest/gtest.h>
#include <mpi.h>

#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::mpi {
namespace {

TEST(EmbeddedTest, EnvironmentLeavesMpiToTheApplication) {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  {
    const Environment environment;
    EXPECT_EQ(environment.world().size(), size);
    EXPECT_NE(environment.library_version(), "none");
    Comm world = environment.world();
    EXPECT_EQ(world.all_sum(1), size);
    world.close();
  }
  int finalized = 1;
  MPI_Finalized(&finalized);
  EXPECT_EQ(finalized, 0);
}

TEST(EmbeddedTest, ErrorHandlerOfTheApplicationIsKept) {
  MPI_Errhandler before = MPI_ERRHANDLER_NULL;
  MPI_Errhandler after = MPI_ERRHANDLER_NULL;
  MPI_Comm_get_errhandler(MPI_COMM_WORLD, &before);
  const Environment environment;
  MPI_Comm_get_errhandler(MPI_COMM_WORLD, &after);
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace bunchtrain::mpi
