// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/thread_budget.hpp"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <numeric>

namespace bunchtrain::device {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<int> cpus(int count) {
  std::vector<int> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

TEST(ThreadBudgetTest, OneUnboundRankTakesTheNode) {
  const ThreadBudget budget =
      make_thread_budget({.allowed_cpus = cpus(16), .online_cpus = 16, .local_ranks = 1});
  EXPECT_EQ(budget.compute, 16);
  EXPECT_EQ(budget.loader, 4);
  EXPECT_EQ(budget.reason, "16 of 16 CPUs, 1 rank on this node");
  EXPECT_EQ(budget.warning, "");
}

TEST(ThreadBudgetTest, UnboundRanksShareTheNode) {
  const ThreadBudget budget =
      make_thread_budget({.allowed_cpus = cpus(16), .online_cpus = 16, .local_ranks = 4});
  EXPECT_EQ(budget.compute, 4);
  EXPECT_EQ(budget.warning, "");
}

TEST(ThreadBudgetTest, RanksOnASocketShareTheSocket) {
  const ThreadBudget budget =
      make_thread_budget({.allowed_cpus = cpus(32), .online_cpus = 64, .local_ranks = 4});
  EXPECT_EQ(budget.compute, 16);
}

TEST(ThreadBudgetTest, RankBoundToOneCoreBesideIdleOnesWarns) {
  const ThreadBudget budget =
      make_thread_budget({.allowed_cpus = cpus(1), .online_cpus = 16, .local_ranks = 2});
  EXPECT_EQ(budget.compute, 1);
  EXPECT_THAT(budget.warning,
              AllOf(HasSubstr("bound to 1 CPU"), HasSubstr("14 of 16 CPUs"), HasSubstr("slot:PE=8")));
}

TEST(ThreadBudgetTest, FullNodeBoundCoreByCoreDoesNotWarn) {
  const ThreadBudget budget =
      make_thread_budget({.allowed_cpus = cpus(1), .online_cpus = 2, .local_ranks = 2});
  EXPECT_EQ(budget.compute, 1);
  EXPECT_EQ(budget.warning, "");
}

TEST(ThreadBudgetTest, MoreRanksThanCpusStillGetOneThread) {
  EXPECT_EQ(make_thread_budget({.allowed_cpus = cpus(2), .online_cpus = 2, .local_ranks = 8}).compute, 1);
}

TEST(ThreadBudgetTest, RequestBeatsEnvironmentBeatsAffinity) {
  ThreadSituation situation{.allowed_cpus = cpus(8), .online_cpus = 8, .omp_num_threads = 3};
  EXPECT_EQ(make_thread_budget(situation).compute, 3);
  EXPECT_EQ(make_thread_budget(situation).reason, "OMP_NUM_THREADS=3");
  situation.requested_threads = 5;
  EXPECT_EQ(make_thread_budget(situation).compute, 5);
  EXPECT_EQ(make_thread_budget(situation).reason, "threads = 5");
}

TEST(ThreadBudgetTest, ObservationFollowsTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  const ThreadSituation bound = observe_threads(2, 0);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_THAT(bound.allowed_cpus, testing::ElementsAre(first));
  EXPECT_GE(bound.online_cpus, 1);
  EXPECT_EQ(bound.local_ranks, 2);
}

TEST(ThreadBudgetTest, ObservationReadsOmpNumThreads) {
  setenv("OMP_NUM_THREADS", "7", 1);
  EXPECT_EQ(observe_threads(1, 0).omp_num_threads, 7);
  setenv("OMP_NUM_THREADS", "many", 1);
  EXPECT_EQ(observe_threads(1, 0).omp_num_threads, 0);
  unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(observe_threads(1, 0).omp_num_threads, 0);
}

TEST(ThreadBudgetTest, ApplySetsLibTorchThreads) {
  const int before = at::get_num_threads();
  apply({.compute = 2});
  EXPECT_EQ(at::get_num_threads(), 2);
  apply({.compute = before});
}

}  // namespace
}  // namespace bunchtrain::device
