// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/collation.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {
namespace {

using testing::HasSubstr;

/// Tensors come full of rubbish: who leaves something out is found.
at::Tensor rubbish(at::IntArrayRef sizes, at::ScalarType type) {
  return at::full(sizes, type == at::kBool ? 1 : 77, at::TensorOptions().dtype(type));
}

/// Two blocks of a dataset whose samples have 2, 0, 3 and 1, 0 elements.
class CollationTest : public testing::Test {
 protected:
  CollationTest() {
    first_.tensors.set("hits", at::arange(10, at::kFloat).reshape({5, 2}));
    first_.tensors.set("label", at::tensor({0, 1, 2}, at::kLong));
    second_.tensors.set("hits", at::tensor({50.F, 51.F}).reshape({1, 2}));
    second_.tensors.set("label", at::tensor({3, 4}, at::kLong));
    like_.tensors.set("hits", at::empty({0, 2}));
    like_.tensors.set("label", at::empty({0}, at::kLong));
  }
  /// The last sample of the first block, the first of the second, one without elements, the first of all.
  std::vector<CollatedSample> samples() const {
    return {{&first_, 2, 2, 3}, {&second_, 0, 0, 1}, {&second_, 1, 1, 0}, {&first_, 0, 0, 2}};
  }
  NamedTensors collate(const CollationPtr& collation, const std::vector<CollatedSample>& samples) const {
    NamedTensors batch = collation->collate(samples, like_, kRagged, rubbish);
    std::int64_t bytes = 0, elements = 0;
    for (const auto& [name, tensor] : batch) bytes += static_cast<std::int64_t>(tensor.nbytes());
    for (const auto& sample : samples) elements += collation->taken(sample.elements);
    EXPECT_EQ(collation->bytes(static_cast<std::int64_t>(samples.size()), elements, like_, kRagged), bytes);
    return batch;
  }
  static std::string refusal(const CollationPtr& collation, const SampleBlock& like,
                             const std::vector<std::string>& ragged) {
    try {
      collation->collate({}, like, ragged, rubbish);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  }

  static inline const std::vector<std::string> kRagged = {"hits"};
  SampleBlock first_, second_, like_;
};

TEST_F(CollationTest, RaggedHasTheElementsOfAllSamplesAndTheirSplits) {
  const NamedTensors batch = collate(make_ragged_collation(), samples());
  EXPECT_TRUE(batch["row_splits"].equal(at::tensor({0, 3, 4, 4, 6}, at::kLong)));
  EXPECT_TRUE(batch["hits"].equal(
      at::tensor({4.F, 5.F, 6.F, 7.F, 8.F, 9.F, 50.F, 51.F, 0.F, 1.F, 2.F, 3.F}).reshape({6, 2})));
  EXPECT_TRUE(batch["label"].equal(at::tensor({2, 3, 4, 0}, at::kLong)));
  const NamedTensors none = collate(make_ragged_collation(), {});
  EXPECT_TRUE(none["row_splits"].equal(at::tensor({0}, at::kLong)));
  EXPECT_EQ(none["hits"].sizes(), (std::vector<std::int64_t>{0, 2}));
}

TEST_F(CollationTest, PaddedHasZerosBehindTheElementsAndCutsLongSamples) {
  const NamedTensors batch = collate(make_padded_collation(2), samples());
  EXPECT_TRUE(batch["hits"].equal(
      at::tensor({4.F, 5.F, 6.F, 7.F, 50.F, 51.F, 0.F, 0.F, 0.F, 0.F, 0.F, 0.F, 0.F, 1.F, 2.F, 3.F})
          .reshape({4, 2, 2})));
  EXPECT_TRUE(
      batch["mask"].equal(at::tensor({1, 1, 1, 0, 0, 0, 1, 1}, at::kLong).to(at::kBool).reshape({4, 2})));
  EXPECT_TRUE(batch["label"].equal(at::tensor({2, 3, 4, 0}, at::kLong)));
  EXPECT_EQ(make_padded_collation(2)->taken(3), 2);
  EXPECT_EQ(collate(make_padded_collation(2), {})["hits"].sizes(), (std::vector<std::int64_t>{0, 2, 2}));
}

TEST_F(CollationTest, PaddedToTheLongestHasItsLengthInMultiples) {
  const auto longest = [&](std::int64_t most, std::int64_t multiple, const std::vector<CollatedSample>& of) {
    return make_longest_collation(most, multiple)->collate(of, like_, kRagged, rubbish);
  };
  const std::vector<std::int64_t> by_four{4, 4, 2}, at_most{4, 2, 2}, none{0, 2, 2};
  EXPECT_EQ(longest(100, 4, samples())["hits"].sizes(), by_four);
  EXPECT_EQ(longest(2, 4, samples())["hits"].sizes(), at_most);
  EXPECT_EQ(longest(100, 2, {})["hits"].sizes(), none);
  const NamedTensors exact = longest(100, 1, samples()),
                     padded = collate(make_padded_collation(3), samples());
  EXPECT_TRUE(exact["hits"].equal(padded["hits"]));
  EXPECT_TRUE(exact["mask"].equal(padded["mask"]));
  EXPECT_EQ(make_longest_collation(100)->bytes(4, 6, like_, kRagged), 4 * 8 + 6 * 9)
      << "the padding is not known beforehand";
  EXPECT_EQ(make_longest_collation(2, 4)->taken(3), 2);
  EXPECT_THROW(make_longest_collation(0), ConfigError);
  EXPECT_THROW(make_longest_collation(8, 0), ConfigError);
  EXPECT_THROW(make_longest_collation(8, 2, 0), ConfigError);
  const auto at_least = make_longest_collation(100, 4, 6);
  EXPECT_EQ(at_least->collate(samples(), like_, kRagged, rubbish)["hits"].size(1), 8);
  EXPECT_EQ(at_least->kind(), "padded to the longest, in multiples of 4, 6 at least, 100 at most");
}

TEST_F(CollationTest, RowsAreCopiedAsTheyAre) {
  SampleBlock block;
  block.tensors.set("image", at::arange(12).reshape({3, 2, 2}));
  SampleBlock like;
  like.tensors.set("image", at::empty({0, 2, 2}, at::kLong));
  const std::vector<CollatedSample> samples = {{&block, 2, 0, 0}, {&block, 0, 0, 0}};
  const NamedTensors batch = make_row_collation()->collate(samples, like, {}, rubbish);
  EXPECT_TRUE(batch["image"].equal(at::tensor({8, 9, 10, 11, 0, 1, 2, 3}, at::kLong).reshape({2, 2, 2})));
  EXPECT_EQ(make_row_collation()->bytes(2, 0, like, {}), 64);
}

TEST_F(CollationTest, RefusesWhatItCannotCollate) {
  EXPECT_THAT(refusal(make_row_collation(), like_, kRagged), HasSubstr("different numbers of rows in hits"));
  EXPECT_THAT(refusal(make_ragged_collation(), like_, {}), HasSubstr("the dataset has no ragged tensors"));
  EXPECT_THAT(refusal(make_padded_collation(3), like_, {}), HasSubstr("padded to 3"));
  SampleBlock named = like_;
  named.tensors.set("row_splits", at::empty({0}));
  EXPECT_THAT(refusal(make_ragged_collation(), named, kRagged), HasSubstr("adds the tensor 'row_splits'"));
  named.tensors.set("mask", at::empty({0}));
  EXPECT_THAT(refusal(make_padded_collation(3), named, kRagged), HasSubstr("rename it there"));
  EXPECT_THROW(make_padded_collation(0), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::data
