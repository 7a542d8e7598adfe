// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/batch.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

at::Tensor numbers(std::vector<std::int64_t> values) { return at::tensor(values, at::kLong); }

/// Events of 2, 0, 3 and 1 hits.
Batch ragged_batch() {
  Batch batch;
  batch.tensors = {{"hits", at::arange(12).view({6, 2})},
                   {"label", at::arange(4)},
                   {"row_splits", numbers({0, 2, 2, 5, 6})}};
  batch.sample_ids = numbers({10, 11, 12, 13});
  batch.global_samples = 9;
  batch.elements = 6;
  batch.global_elements = 20;
  batch.element_splits = numbers({0, 2, 2, 5, 6});
  batch.ragged = {"hits"};
  return batch;
}

TEST(SliceSamplesTest, ARaggedBatchTakesTheElementsOfItsSamples) {
  const Batch part = slice_samples(ragged_batch(), 1, 3);
  EXPECT_TRUE(part["hits"].equal(at::arange(4, 10).view({3, 2})));
  EXPECT_TRUE(part["label"].equal(numbers({1, 2})));
  EXPECT_TRUE(part["row_splits"].equal(numbers({0, 0, 3})));
  EXPECT_TRUE(part.element_splits.equal(numbers({0, 0, 3})));
  EXPECT_TRUE(part.sample_ids.equal(numbers({11, 12})));
  EXPECT_EQ(part.elements, 3);
  EXPECT_EQ(part.global_elements, 20) << "of the step";
  EXPECT_EQ(part.global_samples, 9);
  const Batch last = slice_samples(part, 1, 2);
  EXPECT_TRUE(last["hits"].equal(at::arange(4, 10).view({3, 2}))) << "a part of a part";
  EXPECT_TRUE(last["row_splits"].equal(numbers({0, 3})));
}

TEST(SliceSamplesTest, NoSamplesAndNoElementsAreParts) {
  const Batch empty_event = slice_samples(ragged_batch(), 1, 2);
  EXPECT_EQ(empty_event.size(), 1);
  EXPECT_EQ(empty_event.elements, 0);
  EXPECT_EQ(empty_event["hits"].size(0), 0);
  const Batch none = slice_samples(ragged_batch(), 4, 4);
  EXPECT_EQ(none.size(), 0);
  EXPECT_TRUE(none["row_splits"].equal(numbers({0})));
}

TEST(SliceSamplesTest, PaddedSamplesAreRowsAndTheirElementsCounted) {
  Batch padded = ragged_batch();
  padded.tensors = {{"hits", at::arange(24).view({4, 3, 2})}};
  padded.ragged.clear();
  const Batch part = slice_samples(padded, 2, 4);
  EXPECT_TRUE(part["hits"].equal(at::arange(12, 24).view({2, 3, 2})));
  EXPECT_EQ(part.elements, 4);
}

TEST(SliceSamplesTest, SaysWhatCannotBeCut) {
  EXPECT_THROW(slice_samples(ragged_batch(), 2, 5), ConfigError);
  Batch unknown = ragged_batch();
  unknown.element_splits = at::Tensor();
  try {
    slice_samples(unknown, 0, 2);
    FAIL() << "cut at rows that are not samples";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("Batch::element_splits"));
  }
}

}  // namespace
}  // namespace bunchtrain
