// SPDX-License-Identifier: Apache-2.0
// The main() of tests that run on several ranks: one verdict for all of them.

#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

/// Tells every rank, after each test, which ranks failed in it. Rank 0 alone prints what passed.
class RankListener : public testing::EmptyTestEventListener {
 public:
  explicit RankListener(MPI_Comm comm) : comm_(comm) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }

  [[nodiscard]] bool any_failed() const { return any_failed_; }

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (rank_ == 0 || !result.failed()) return;  // rank 0 has GoogleTest's own printer
    const char* file = result.file_name() != nullptr ? result.file_name() : "unknown file";
    std::printf("[ rank %d ] %s:%d: %s\n", rank_, file, result.line_number(), result.summary());
    std::fflush(stdout);
  }

  void OnTestEnd(const testing::TestInfo& test) override {
    const int failed = test.result()->Failed() ? 1 : 0;
    std::vector<int> failed_on(static_cast<std::size_t>(size_));
    MPI_Allgather(&failed, 1, MPI_INT, failed_on.data(), 1, MPI_INT, comm_);
    std::string ranks;
    for (int rank = 0; rank < size_; ++rank) {
      if (failed_on[static_cast<std::size_t>(rank)] != 0) ranks += " " + std::to_string(rank);
    }
    if (ranks.empty()) return;
    any_failed_ = true;
    if (rank_ == 0) {
      std::printf("[  FAILED  ] %s.%s on rank%s\n", test.test_suite_name(), test.name(), ranks.c_str());
    }
  }

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  bool any_failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  testing::InitGoogleTest(&argc, argv);

  // A communicator of its own: a test that leaves collectives unmatched must not confuse the verdict.
  MPI_Comm control = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &control);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  auto* listener = new RankListener(control);  // owned by GoogleTest
  listeners.Append(listener);
  int rank = 0;
  MPI_Comm_rank(control, &rank);
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());

  const int failed_here = RUN_ALL_TESTS();
  const int failed = failed_here != 0 || listener->any_failed() ? 1 : 0;
  MPI_Comm_free(&control);
  MPI_Finalize();
  return failed;
}
