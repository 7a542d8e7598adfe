// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::mpi {
namespace {

TEST(SelfCommTest, IsAWorldOfOneThatNeverTouchesMpi) {
  Comm comm = Comm::self();
  EXPECT_EQ(comm.rank(), 0);
  EXPECT_EQ(comm.size(), 1);
  EXPECT_EQ(comm.local_rank(), 0);
  EXPECT_EQ(comm.num_nodes(), 1);
  comm.barrier();
  EXPECT_EQ(comm.broadcast("text"), "text");
  EXPECT_THAT(comm.all_gather("text"), testing::ElementsAre("text"));
  EXPECT_EQ(comm.all_sum(5), 5);
  EXPECT_EQ(comm.split(2, 0).size(), 1);
  int started = 1;
  MPI_Initialized(&started);
  EXPECT_EQ(started, 0);
}

TEST(SelfCommTest, AgreementThrowsItsOwnError) {
  EXPECT_NO_THROW(Comm::self().agree_or_throw(""));
  try {
    Comm::self().agree_or_throw("cannot open jets.h5");
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_EQ(error.message(), "cannot open jets.h5");
  }
}

TEST(SelfCommTest, ClosedCommunicatorRefuses) {
  Comm comm = Comm::self();
  const Comm copy = comm;
  comm.close();
  EXPECT_THROW(copy.barrier(), CommError);
  EXPECT_NO_THROW(comm.close());
}

TEST(SelfCommTest, RefusesWrongArguments) {
  EXPECT_THROW(Comm::self().broadcast("text", 1), ConfigError);
  EXPECT_THROW(Comm::self().split(-1, 0), ConfigError);
  EXPECT_THROW(Comm::self().fortran_handle(), CommError);
}

TEST(SelfCommTest, DuplicatingNeedsMpi) { EXPECT_THROW(Comm::duplicate_of(0), CommError); }

}  // namespace
}  // namespace bunchtrain::mpi
