// SPDX-License-Identifier: Apache-2.0
#include "loader/recycled_tensors.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <thread>
#include <vector>

#include "loader/memory_note.hpp"

namespace bunchtrain::data {
namespace {

TEST(MemoryNoteTest, SaysWhereBatchesWaitIfThereIsAChoice) {
  const c10::Device gpu(c10::kCUDA, 1);
  EXPECT_EQ(memory_note(1, gpu),
            "loader: batches wait in page-locked memory of NUMA node 1, where cuda:1 is");
  EXPECT_EQ(memory_note(std::nullopt, gpu), "");
}

constexpr std::int64_t kFloats = 1 << 16;  // 256 KiB
constexpr std::size_t kBytes = kFloats * sizeof(float);

TEST(RecycledTensorsTest, GivesTheSameMemoryAgain) {
  const RecycledTensors memory;
  at::Tensor first = memory.empty({4, kFloats / 4}, at::kFloat);
  EXPECT_EQ(first.sizes(), (at::IntArrayRef{4, kFloats / 4}));
  EXPECT_EQ(std::bit_cast<std::uintptr_t>(first.const_data_ptr()) % 64, 0u);
  const void* place = first.const_data_ptr();
  at::Tensor view = first[1];
  first = at::Tensor();
  EXPECT_EQ(memory.idle_bytes(), 0u);  // a view is left
  const at::Tensor other = memory.empty({kFloats}, at::kFloat);
  EXPECT_NE(other.const_data_ptr(), place);
  view = at::Tensor();
  EXPECT_EQ(memory.idle_bytes(), kBytes);
  EXPECT_EQ(memory.empty({kFloats}, at::kFloat).const_data_ptr(), place);
}

TEST(RecycledTensorsTest, KeepsNoMoreThanItMay) {
  const RecycledTensors memory(3 * kBytes);
  std::vector<at::Tensor> tensors;
  for (int i = 0; i < 5; ++i) tensors.push_back(memory.empty({kFloats}, at::kFloat));
  tensors.clear();
  EXPECT_EQ(memory.idle_bytes(), 3 * kBytes);
  const at::Tensor small = memory.empty({3}, at::kLong);
  EXPECT_EQ(small.numel(), 3);
  EXPECT_EQ(memory.idle_bytes(), 3 * kBytes);
}

TEST(RecycledTensorsTest, TensorsMayOutliveIt) {
  at::Tensor left;
  {
    const RecycledTensors memory;
    left = memory.empty({kFloats}, at::kFloat);
  }
  left.fill_(3);
  EXPECT_EQ(left[kFloats - 1].item<float>(), 3);
}

TEST(RecycledTensorsTest, ThreadsNeverShareMemory) {
  const RecycledTensors memory;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&memory, thread] {
      for (int i = 0; i < 200; ++i) {
        at::Tensor tensor = memory.empty({kFloats}, at::kFloat);
        auto* values = tensor.mutable_data_ptr<float>();
        values[0] = values[kFloats - 1] = static_cast<float>(thread);
        std::this_thread::yield();
        ASSERT_EQ(values[0], static_cast<float>(thread));
        ASSERT_EQ(values[kFloats - 1], static_cast<float>(thread));
      }
    });
}

}  // namespace
}  // namespace bunchtrain::data
