// SPDX-License-Identifier: Apache-2.0
// Who keeps buffers alive, what close() does, and communicators beside one another.
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "world.hpp"

namespace bunchtrain::comm {
namespace {

constexpr std::int64_t kLarge = 300'000;  // beyond what MPI sends eagerly

class LifetimeTest : public testing::Test {
 protected:
  Communicator create(CommunicatorOptions options = {}) {
    options.backend = Backend::mpi;
    options.timeout = std::chrono::seconds(20);
    return Communicator::create(test_world(), c10::kCPU, options);
  }
  int rank = test_world().rank();
  int size = test_world().size();
};

TEST_F(LifetimeTest, WorkDestroyedInFlightIsParkedAndDrainedByClose) {
  auto comm = create();
  const auto tensor = at::ones({kLarge});
  const bool last = rank == size - 1;
  if (last) test_world().barrier();  // it comes when all others have dropped theirs: dropping does not wait
  { auto dropped = comm.all_reduce(tensor); }
  if (!last) test_world().barrier();
  comm.close();
  EXPECT_EQ(tensor.min().item<float>(), static_cast<float>(size));
}

TEST_F(LifetimeTest, ParkedWorkOwnsItsTensor) {
  auto comm = create();
  if (rank == size - 1) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  { auto dropped = comm.all_reduce(at::ones({kLarge})); }  // nobody else holds the tensor
  const auto after = at::full({kLarge}, 2.0F);             // would get its memory
  comm.all_reduce(after).wait();
  EXPECT_EQ(after.max().item<float>(), 2.0F * static_cast<float>(size));
  EXPECT_EQ(after.min().item<float>(), 2.0F * static_cast<float>(size));
  comm.close();
}

TEST_F(LifetimeTest, WorkOutlivesTheCommunicatorObject) {
  const auto tensor = at::ones({kLarge});
  Work work;
  EXPECT_FALSE(work.valid());
  {
    auto comm = create();
    work = comm.all_reduce(tensor);
  }
  work.wait();
  EXPECT_TRUE(work.poll());
  EXPECT_EQ(tensor.min().item<float>(), static_cast<float>(size));
}

TEST_F(LifetimeTest, CloseRefusesWhileCallersHoldOperations) {
  auto comm = create();
  const auto tensor = at::ones({kLarge});
  auto work = comm.all_reduce(tensor);
  EXPECT_THROW(comm.close(), CommError);
  work.wait();
  EXPECT_NO_THROW(comm.close());
  EXPECT_NO_THROW(comm.close());
  EXPECT_THROW(comm.all_reduce(tensor), CommError);
}

TEST_F(LifetimeTest, PollMakesProgressWithoutWaiting) {
  auto comm = create();
  const auto tensor = at::ones({kLarge});
  auto work = comm.all_reduce(tensor);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!work.poll() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_TRUE(work.poll());
  EXPECT_EQ(tensor.min().item<float>(), static_cast<float>(size));
  comm.close();
}

TEST_F(LifetimeTest, SplitCommunicatorsWorkSideBySide) {
  auto world = create();
  auto parity = world.split(rank % 2, rank, "parity");
  auto reversed = world.split(0, -rank, "reversed");
  EXPECT_EQ(parity.name(), "parity");
  EXPECT_EQ(reversed.rank(), size - 1 - rank);
  const auto by_parity = at::full({100}, static_cast<double>(rank), at::kDouble);
  const auto by_world = at::full({100}, 1.0, at::kDouble);
  const auto from_last = at::full({100}, static_cast<double>(rank), at::kDouble);
  auto first = parity.all_reduce(by_parity);
  auto second = world.all_reduce(by_world);
  auto third = reversed.broadcast(from_last, 0);
  third.wait();
  second.wait();
  first.wait();
  double expected = 0;
  for (int other = rank % 2; other < size; other += 2) expected += other;
  EXPECT_EQ(by_parity.max().item<double>(), expected);
  EXPECT_EQ(by_world.max().item<double>(), size);
  EXPECT_EQ(from_last.max().item<double>(), size - 1);
  reversed.close();
  parity.close();
  world.close();
}

TEST_F(LifetimeTest, TwoCommunicatorsOfTheSameRanksAreIndependent) {
  auto one = create({.name = "one"});
  auto two = create({.name = "two"});
  const auto a = at::ones({1000});
  const auto b = at::full({1000}, 10.0F);
  // The order holds within a communicator only.
  auto first = rank % 2 == 0 ? one.all_reduce(a) : two.all_reduce(b);
  auto second = rank % 2 == 0 ? two.all_reduce(b) : one.all_reduce(a);
  second.wait();
  first.wait();
  EXPECT_EQ(a.max().item<float>(), static_cast<float>(size));
  EXPECT_EQ(b.max().item<float>(), 10.0F * static_cast<float>(size));
  one.close();
  two.close();
}

TEST_F(LifetimeTest, EveryRankGetsTheSameBits) {
  auto comm = create();
  const CounterRandom random(7, static_cast<std::uint64_t>(rank));
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const std::int64_t numel : {3, 5000, 100'000}) {
      auto tensor = at::zeros({numel}, at::kDouble);
      auto* data = tensor.mutable_data_ptr<double>();
      for (std::int64_t i = 0; i < numel; ++i) data[i] = random.normal(static_cast<std::uint64_t>(i));
      tensor = tensor.to(dtype);
      comm.all_reduce(tensor).wait();
      const auto all = at::zeros({size, numel}, tensor.options());
      comm.all_gather(all, tensor).wait();
      EXPECT_TRUE(all.eq(all[0]).all().item<bool>()) << c10::toString(dtype) << " " << numel;
    }
  }
  comm.close();
}

TEST_F(LifetimeTest, SixteenBitFloatsRoundToNearestAndKeepInfinity) {
  auto comm = create();
  // 256 + 1 is half-way between two bfloat16 numbers (spacing 2): ties go to even, 256.
  const auto tie = at::full({4}, rank == 0 ? 256.0F : 1.0F, at::kBFloat16);
  const auto overflow = at::full({4}, 60000.0F, at::kHalf);
  comm.all_reduce(tie).wait();
  comm.all_reduce(overflow).wait();
  if (size == 2) {
    EXPECT_EQ(tie.to(at::kFloat).max().item<float>(), 256.0F);
  }
  EXPECT_EQ(std::isinf(overflow.to(at::kFloat).max().item<float>()), size > 1);
  comm.close();
}

TEST_F(LifetimeTest, AutomaticBackendFollowsTheWorld) {
  auto comm = Communicator::create(test_world(), c10::kCPU);
  EXPECT_EQ(comm.backend(), size == 1 ? Backend::self : Backend::mpi);
  comm.close();
  if (size > 1) {
    EXPECT_THROW(Communicator::create(test_world(), c10::kCPU, {.backend = Backend::self}), ConfigError);
  }
}

TEST_F(LifetimeTest, NcclForTensorsOfTheCpuIsRefusedOnEveryRank) {
  EXPECT_THROW(Communicator::create(test_world(), c10::kCPU, {.backend = Backend::nccl}), Error);
  EXPECT_EQ(test_world().all_sum(1), size);  // nobody waits for another
}

TEST_F(LifetimeTest, PartsOfAWorldKeepItsBackend) {
  auto comm = Communicator::create(test_world(), c10::kCPU);
  auto part = comm.split(comm.rank() % 2, comm.rank(), "part");
  EXPECT_EQ(part.backend(), part.size() == 1 ? Backend::self : Backend::mpi);
  part.close();
  comm.close();
}

TEST_F(LifetimeTest, CallersCommunicatorIsKept) {
  auto comm = create();
  comm.close();
  EXPECT_EQ(test_world().all_sum(1), size);
}

}  // namespace
}  // namespace bunchtrain::comm
