// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/memory_dataset.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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

TEST(MemoryDatasetTest, WeightsOfAnyScaleAreTheSame) {
  for (const double scale : {1e-300, 1e-9, 1.0, 1e300}) {
    auto tensors = some_tensors(4);
    tensors.set("weight", at::tensor({-1.0, 2.0, 3.0, 2.0}, at::kDouble) * scale);
    const auto dataset = make_memory_dataset(tensors);
    const at::Tensor weights = dataset->read(0).tensors["weight"];
    EXPECT_TRUE(at::allclose(weights, at::tensor({-0.5, 1.0, 1.5, 1.0}, at::kDouble))) << scale;
    EXPECT_NEAR(dataset->summary().weight_factor * scale, 0.5, 1e-12);
    EXPECT_EQ(dataset->summary().negative_weights, 1);
    EXPECT_NEAR(dataset->summary().negative_weight_share, 0.125, 1e-12);
  }
}

TEST(MemoryDatasetTest, RefusesWeightsThatTeachNothing) {
  const auto refusal = [](const at::Tensor& weights) -> std::string {
    auto tensors = some_tensors(2);
    tensors.set("weight", weights);
    try {
      make_memory_dataset(tensors);
    } catch (const DataError& error) {
      return error.what();
    }
    return "not refused";
  };
  EXPECT_THAT(refusal(at::zeros({2})), testing::HasSubstr("all 0"));
  EXPECT_THAT(refusal(at::tensor({1.0, std::nan("")})), testing::HasSubstr("sample 1: its weight is nan"));
  EXPECT_THAT(refusal(at::tensor({HUGE_VAL, 1.0})), testing::HasSubstr("sample 0: its weight is inf"));
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

TEST(MemoryDatasetTest, RefusesScalarsByName) {
  auto tensors = some_tensors(10);
  tensors.set("scale", at::zeros({}));
  try {
    make_memory_dataset(tensors);
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("tensor 'scale' is a scalar: its first axis"));
  }
}

}  // namespace
}  // namespace bunchtrain::data
