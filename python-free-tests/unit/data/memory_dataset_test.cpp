// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/memory_dataset.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {
namespace {

NamedTensors some_tensors(std::int64_t samples) {
  NamedTensors tensors;
  tensors.set("features", at::arange(samples * 3, at::kFloat).reshape({samples, 3}));
  tensors.set("label", at::arange(samples, at::kLong).remainder(2));
  return tensors;
}

TEST(MemoryDatasetTest, ReadsItsRanges) {
  const auto dataset = make_memory_dataset(some_tensors(10), 4);
  ASSERT_EQ(dataset->size(), 10);
  ASSERT_EQ(dataset->ranges().size(), 3U);
  const auto block = dataset->read(2);
  EXPECT_EQ(block.range.first, 8);
  EXPECT_EQ(block.range.count, 2);
  EXPECT_EQ(block.tensors["features"][0][0].item<float>(), 24);
  EXPECT_EQ(dataset->card(), nullptr);
  EXPECT_THAT(dataset->summary().class_counts, testing::ElementsAre(5, 5));
}

TEST(MemoryDatasetTest, FingerprintFollowsTheContent) {
  const auto first = make_memory_dataset(some_tensors(10));
  auto changed_tensors = some_tensors(10);
  changed_tensors["features"][3][1] = 99;
  EXPECT_EQ(first->summary().fingerprint, make_memory_dataset(some_tensors(10))->summary().fingerprint);
  EXPECT_NE(first->summary().fingerprint, make_memory_dataset(changed_tensors)->summary().fingerprint);
}

TEST(MemoryDatasetTest, RefusesDifferentLengthsByName) {
  auto tensors = some_tensors(10);
  tensors.set("mask", at::zeros({9, 3}, at::kBool));
  try {
    make_memory_dataset(tensors);
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("'mask' has 9 samples, tensor 'features' has 10"));
  }
}

}  // namespace
}  // namespace bunchtrain::data
