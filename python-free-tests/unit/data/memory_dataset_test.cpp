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

NamedTensors ragged_tensors() {
  NamedTensors tensors;
  tensors.set("hits", at::arange(12, at::kFloat).reshape({6, 2}));
  tensors.set("weight", at::arange(6, at::kFloat));  // of hits: not brought to a mean
  tensors.set("label", at::tensor({0, 1, 1, 0}, at::kLong));
  return tensors;
}

at::Tensor splits_of(std::vector<std::int64_t> numbers) { return at::tensor(numbers, at::kLong); }

TEST(MemoryDatasetTest, RaggedRangesHaveTheElementsOfTheirSamples) {
  const auto dataset =
      make_ragged_dataset(ragged_tensors(), {"hits", "weight"}, splits_of({0, 2, 2, 5, 6}), 3);
  ASSERT_EQ(dataset->size(), 4);
  EXPECT_THAT(dataset->ragged(), testing::ElementsAre("hits", "weight"));
  EXPECT_THAT(dataset->row_splits(), testing::ElementsAre(0, 2, 2, 5, 6));
  EXPECT_THAT(dataset->summary().class_counts, testing::ElementsAre(2, 2));
  EXPECT_EQ(dataset->summary().description, "4 samples in memory, with 6 elements");
  EXPECT_EQ(dataset->summary().weight_factor, 1);
  const SampleBlock first = dataset->read(0), last = dataset->read(1);
  EXPECT_EQ(first.tensors["hits"].size(0), 5);
  EXPECT_EQ(first.tensors["label"].size(0), 3);
  EXPECT_EQ(last.tensors["hits"].size(0), 1);
  EXPECT_EQ(last.tensors["hits"][0][0].item<float>(), 10);
  const auto other = make_ragged_dataset(ragged_tensors(), {"hits", "weight"}, splits_of({0, 2, 3, 5, 6}), 3);
  EXPECT_NE(other->summary().fingerprint, dataset->summary().fingerprint);
}

TEST(MemoryDatasetTest, RefusesRowSplitsThatDoNotFit) {
  const auto refusal = [](const at::Tensor& splits,
                          std::vector<std::string> ragged = {"hits", "weight"}) -> std::string {
    try {
      make_ragged_dataset(ragged_tensors(), std::move(ragged), splits);
    } catch (const DataError& error) {
      return error.what();
    }
    return "not refused";
  };
  using testing::HasSubstr;
  EXPECT_THAT(refusal(splits_of({1, 2, 2, 5, 6})), HasSubstr("begin at 1"));
  EXPECT_THAT(refusal(splits_of({0, 4, 3, 5, 6})), HasSubstr("descend at sample 1: from 4 to 3"));
  EXPECT_THAT(refusal(splits_of({0, 2, 2, 5, 7})), HasSubstr("'hits' has 6 rows, the row splits end at 7"));
  EXPECT_THAT(refusal(splits_of({0, 2, 6})),
              HasSubstr("'label' has 4 rows, the row splits are those of 2 samples"));
  for (const at::Tensor& splits :
       {at::Tensor(), at::zeros({0}, at::kLong), at::zeros({5}), at::zeros({5, 1}, at::kLong)})
    EXPECT_THAT(refusal(splits), HasSubstr("[N + 1] int64"));
  EXPECT_THROW(make_ragged_dataset(ragged_tensors(), {"cells"}, splits_of({0, 2, 2, 5, 6})), ConfigError);
  EXPECT_THROW(make_ragged_dataset(ragged_tensors(), {}, splits_of({0, 2, 2, 5, 6})), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::data
