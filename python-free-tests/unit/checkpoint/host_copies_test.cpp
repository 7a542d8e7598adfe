// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/host_copies.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <set>

#include "../../support/peak_allocator.hpp"

namespace bunchtrain::checkpoint {
namespace {

std::set<const void*> memories_of(const StateDict& state) {
  std::set<const void*> memories;
  for (const auto& [name, tensor] : state.tensors) memories.insert(tensor.storage().data());
  return memories;
}

/// Two parameters of one arena, one of them channels-last, the moments of both, and a buffer.
StateDict make_state(const at::Tensor& arena, const at::Tensor& moments) {
  StateDict state;
  state.tensors.set("weight", arena.as_strided({2, 3, 2, 2}, {12, 1, 6, 3}, 16));
  state.tensors.set("bias", arena.narrow(0, 0, 5));
  state.tensors.set("exp_avg.bias", moments.narrow(0, 0, 5));
  state.tensors.set("exp_avg.weight", moments.as_strided({2, 3, 2, 2}, {12, 1, 6, 3}, 16));
  state.tensors.set("mean", at::full({3}, 0.5, at::kDouble));
  return state;
}

TEST(HostCopiesTest, OnePieceForEachMemory) {
  const at::Tensor arena = at::arange(40, at::kFloat), moments = at::arange(40, at::kFloat).mul(-1);
  StateDict live = make_state(arena, moments);
  live.set("step", 7);
  live.set_slice("part", arena.narrow(0, 0, 4), tensor::Slice::range({8}, {1}, 4, 4));
  HostCopies copies;
  const StateDict copied = copies.copy(live);
  EXPECT_EQ(memories_of(copied).size(), 3U);
  EXPECT_EQ(copies.bytes(), 2U * 40 * sizeof(float) + 3 * sizeof(double));
  EXPECT_EQ(copied.integer("step"), 7);
  EXPECT_EQ(copied.slice_of("part"), live.slice_of("part"));
  for (const auto& [name, tensor] : live.tensors) {
    EXPECT_TRUE(copied.tensors[name].equal(tensor)) << name;
    EXPECT_EQ(copied.tensors[name].strides(), tensor.strides()) << name;
  }
  const at::Tensor before = live.tensors["weight"].clone();
  arena.zero_();
  EXPECT_TRUE(copied.tensors["weight"].equal(before));
}

TEST(HostCopiesTest, AFewRowsOfSomethingLargeAreCopiedAlone) {
  StateDict live;
  const at::Tensor large = at::arange(10000);
  live.tensors.set("first", large.narrow(0, 10, 5));
  live.tensors.set("last", large.narrow(0, 9000, 5));
  HostCopies copies;
  const StateDict copied = copies.copy(live);
  EXPECT_EQ(copies.bytes(), 0U);
  EXPECT_TRUE(copied.tensors["last"].equal(live.tensors["last"]));
  large.zero_();
  EXPECT_EQ(copied.tensors["first"][0].item<std::int64_t>(), 10);
}

TEST(HostCopiesTest, OddTensorsKeepWhatTheyAre) {
  StateDict live;
  live.tensors.set("empty", at::empty({0, 3}));
  live.tensors.set("scalar", at::full({}, 3.0, at::kDouble));
  live.tensors.set("flags", at::ones({3}, at::kBool));
  live.tensors.set("expanded", at::arange(2).unsqueeze(1).expand({2, 5}));
  live.tensors.set("trained", at::ones({2}).requires_grad_());
  const StateDict copied = HostCopies().copy(live);
  for (const auto& [name, tensor] : live.tensors) {
    EXPECT_TRUE(copied.tensors[name].equal(tensor)) << name;
    EXPECT_EQ(copied.tensors[name].scalar_type(), tensor.scalar_type()) << name;
    EXPECT_FALSE(copied.tensors[name].requires_grad()) << name;
  }
}

TEST(HostCopiesTest, MemoryIsUsedAgainOnceNobodyHoldsIt) {
  const at::Tensor arena = at::arange(50000, at::kFloat), moments = at::arange(50000, at::kFloat);
  HostCopies copies;
  std::set<const void*> used;
  const auto save = [&] {
    const StateDict copied = copies.copy(make_state(arena, moments));
    for (const void* memory : memories_of(copied)) used.insert(memory);
  };
  save();
  const std::size_t held = copies.bytes();
  const double peak = test::peak_bytes([&] {
    for (int round = 0; round < 50; ++round) save();
  });
  EXPECT_EQ(copies.bytes(), held);
  EXPECT_EQ(used.size(), 3U);
  EXPECT_LT(peak, 1000) << "bytes: buffers of the state itself alone";

  const StateDict first = copies.copy(make_state(arena, moments));
  arena.fill_(-1);
  const StateDict second = copies.copy(make_state(arena, moments));
  EXPECT_NE(first.tensors["bias"].data_ptr(), second.tensors["bias"].data_ptr())
      << "somebody holds the first";
  EXPECT_EQ(first.tensors["bias"][3].item<float>(), 3);
  EXPECT_EQ(copies.bytes(), 2 * held);
}

TEST(HostCopiesTest, AnotherStateLeavesNoMemoryBehind) {
  HostCopies copies;
  StateDict live;
  for (const std::int64_t count : {1000, 2000, 3000}) {
    live.tensors.set("all", at::arange(count));
    copies.copy(live);
    EXPECT_EQ(copies.bytes(), static_cast<std::size_t>(count) * sizeof(std::int64_t));
  }
}

}  // namespace
}  // namespace bunchtrain::checkpoint
