// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/comm.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <string>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::mpi {
namespace {

using testing::HasSubstr;

class CommTest : public testing::Test {
 protected:
  ~CommTest() override { comm.close(); }
  Comm comm = Comm::duplicate_of(MPI_Comm_c2f(MPI_COMM_WORLD));
};

TEST_F(CommTest, KnowsItsPlace) {
  int rank = -1;
  int size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(comm.rank(), rank);
  EXPECT_EQ(comm.size(), size);
  EXPECT_EQ(comm.local_rank(), rank);  // the tests run on one machine
  EXPECT_EQ(comm.local_size(), size);
  EXPECT_EQ(comm.num_nodes(), 1);
}

TEST_F(CommTest, IsADuplicateOfTheCallersCommunicator) {
  int result = MPI_UNEQUAL;
  MPI_Comm_compare(MPI_COMM_WORLD, MPI_Comm_f2c(comm.fortran_handle()), &result);
  EXPECT_EQ(result, MPI_CONGRUENT);  // same ranks, another context
}

TEST_F(CommTest, BroadcastsBytesOfEveryRoot) {
  for (int root = 0; root < comm.size(); ++root) {
    const std::string mine =
        comm.rank() == root ? std::string("from\0root", 9) + std::to_string(root) : "other";
    EXPECT_EQ(comm.broadcast(mine, root), std::string("from\0root", 9) + std::to_string(root));
  }
  EXPECT_EQ(comm.broadcast(""), "");
}

TEST_F(CommTest, GathersTextsOfDifferentLengths) {
  const auto texts = comm.all_gather(std::string(static_cast<std::size_t>(comm.rank()) * 3, 'x'));
  ASSERT_EQ(texts.size(), static_cast<std::size_t>(comm.size()));
  for (int rank = 0; rank < comm.size(); ++rank) {
    EXPECT_EQ(texts[static_cast<std::size_t>(rank)], std::string(static_cast<std::size_t>(rank) * 3, 'x'));
  }
}

TEST_F(CommTest, Reduces) {
  const std::int64_t big = std::int64_t{1} << 40;
  EXPECT_EQ(comm.all_max(big + comm.rank()), big + comm.size() - 1);
  EXPECT_EQ(comm.all_min(big + comm.rank()), big);
  EXPECT_EQ(comm.all_sum(big), big * comm.size());
}

TEST_F(CommTest, AgreementNamesRanksAndTexts) {
  EXPECT_NO_THROW(comm.agree_or_throw(""));
  const int last = comm.size() - 1;
  try {
    comm.agree_or_throw(comm.rank() == last ? "cannot open b.h5" : "");
    ADD_FAILURE() << "no exception on rank " << comm.rank();
  } catch (const DataError& error) {
    const auto expected =
        comm.size() == 1 ? "cannot open b.h5" : "rank " + std::to_string(last) + ": cannot open b.h5";
    EXPECT_EQ(error.message(), expected);
  }
}

TEST_F(CommTest, AgreementOfAllRanksNamesNobody) {
  try {
    comm.agree_or_throw("no such folder");
    ADD_FAILURE() << "no exception";
  } catch (const DataError& error) {
    EXPECT_EQ(error.message(), "no such folder");
  }
}

TEST_F(CommTest, SplitsByColourAndOrdersByKey) {
  Comm part = comm.split(comm.rank() % 2, -comm.rank());
  const int members = (comm.size() + 1 - comm.rank() % 2) / 2;
  EXPECT_EQ(part.size(), members);
  EXPECT_EQ(part.rank(), members - 1 - comm.rank() / 2);
  EXPECT_EQ(part.all_sum(comm.rank() % 2), members * (comm.rank() % 2));
  part.close();
}

TEST_F(CommTest, ClosedCommunicatorRefuses) {
  Comm copy = comm.duplicate();
  copy.close();
  EXPECT_THROW(copy.all_sum(1), CommError);
  EXPECT_THROW(copy.fortran_handle(), CommError);
}

TEST_F(CommTest, RefusesOtherThreads) {
  std::string text;
  std::thread([&] {
    try {
      comm.barrier();
    } catch (const CommError& error) {
      text = error.message();
    }
  }).join();
  EXPECT_THAT(text, HasSubstr("only from the thread that initialised it"));
}

TEST_F(CommTest, MissingRankEndsInATimeoutAndMarksTheJob) {
  if (comm.size() > 1) {
    Comm other = Comm::duplicate_of(MPI_Comm_c2f(MPI_COMM_WORLD));
    other.set_timeout(std::chrono::milliseconds(200));
    if (comm.rank() == 0) {
      EXPECT_THROW(other.all_sum(1), CommError);
      EXPECT_TRUE(other.failed());
      EXPECT_FALSE(comm.failed());  // another job: not made from one another
    }
  }
  comm.barrier();
}

}  // namespace
}  // namespace bunchtrain::mpi
