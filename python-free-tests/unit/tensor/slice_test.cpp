// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/slice.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::tensor {
namespace {

using Sizes = std::vector<std::int64_t>;
using testing::HasSubstr;

/// Strides of a dense tensor whose axes lie in the order `slowest_first`.
Sizes dense_strides(const Sizes& shape, const std::vector<std::size_t>& slowest_first) {
  Sizes strides(shape.size());
  std::int64_t stride = 1;
  for (auto axis = slowest_first.rbegin(); axis != slowest_first.rend(); ++axis) {
    strides[*axis] = stride;
    stride *= shape[*axis];
  }
  return strides;
}

/// A whole tensor whose elements are their own row-major numbers, and what a slice holds of it, found one by one.
at::Tensor held(const Slice& slice) {
  const std::int64_t count =
      std::accumulate(slice.shape.begin(), slice.shape.end(), std::int64_t{1}, std::multiplies{});
  const at::Tensor whole = at::arange(count).view(slice.shape);
  if (!slice.is_range()) {
    at::Tensor part = whole;
    for (std::size_t axis = 0; axis < slice.shape.size(); ++axis)
      part = part.narrow(static_cast<std::int64_t>(axis), slice.offset[axis], slice.sizes[axis]);
    return part.contiguous();
  }
  const at::Tensor storage = at::full({count}, -1, at::kLong);
  storage.as_strided(slice.shape, slice.strides, 0).copy_(whole);
  return storage.narrow(0, slice.begin, slice.count).contiguous();
}

std::set<std::int64_t> elements(const Slice& slice) {
  const at::Tensor values = held(slice);
  return {values.const_data_ptr<std::int64_t>(), values.const_data_ptr<std::int64_t>() + values.numel()};
}

class Slices {
 public:
  explicit Slices(std::uint64_t seed) : random_(CounterRandom(seed, 0)) {}

  Sizes shape() {
    Sizes shape(1 + random_.below(4));
    for (auto& size : shape) size = 1 + static_cast<std::int64_t>(random_.below(5));
    return shape;
  }
  Slice any(const Sizes& shape) { return random_.below(2) == 0 ? box(shape) : range(shape); }
  Slice box(const Sizes& shape) {
    Sizes offset(shape.size()), sizes(shape.size());
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      const auto size = static_cast<std::uint64_t>(shape[axis]);
      offset[axis] = static_cast<std::int64_t>(random_.below(size));
      sizes[axis] =
          static_cast<std::int64_t>(random_.below(size - static_cast<std::uint64_t>(offset[axis]) + 1));
    }
    return Slice::box(shape, offset, sizes);
  }
  Slice range(const Sizes& shape) {
    std::vector<std::size_t> order(shape.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_.below(i)]);
    const auto count = static_cast<std::uint64_t>(
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies{}));
    const std::uint64_t begin = random_.below(count);
    return Slice::range(shape, dense_strides(shape, order), static_cast<std::int64_t>(begin),
                        static_cast<std::int64_t>(random_.below(count - begin + 1)));
  }

 private:
  RandomSequence random_;
};

TEST(SliceTest, AnyPartIsFilledFromAnyOther) {
  Slices slices(3);
  for (int trial = 0; trial < 3000; ++trial) {
    const Sizes shape = slices.shape();
    const Slice from = slices.any(shape), to = slices.any(shape);
    ASSERT_NO_THROW(from.validate()) << from.to_string();
    const auto have = elements(from), want = elements(to);
    std::set<std::int64_t> both;
    std::ranges::set_intersection(have, want, std::inserter(both, both.end()));
    ASSERT_EQ(overlap(from, to), !both.empty()) << from.to_string() << " and " << to.to_string();

    const HeldRange needed = needed_of(from, to);
    ASSERT_EQ(needed.count == 0, both.empty());
    const at::Tensor source = held(from).view({-1}).narrow(0, needed.begin, needed.count).clone();
    const at::Tensor expected = held(to), target = at::full(expected.sizes(), -1, at::kLong);
    copy_common(source, from, needed, target, to);
    for (std::int64_t i = 0; i < target.numel(); ++i) {
      const std::int64_t element = expected.view({-1})[i].item<std::int64_t>();
      ASSERT_EQ(target.view({-1})[i].item<std::int64_t>(), both.contains(element) ? element : -1)
          << from.to_string() << " to " << to.to_string() << ", element " << element;
    }
  }
}

TEST(SliceTest, ReadsNoMoreThanTheCommonElementsSpan) {
  const Slice rows = Slice::box({8, 3}, {2, 0}, {4, 3});
  const HeldRange needed = needed_of(rows, Slice::box({8, 3}, {3, 0}, {1, 3}));
  EXPECT_EQ(needed.begin, 3);
  EXPECT_EQ(needed.count, 3);
}

TEST(SliceTest, ScalarsAndEmptyTensorsAreSlicesToo) {
  const Slice scalar = Slice::range({}, {}, 0, 1);
  EXPECT_TRUE(scalar.is_whole());
  EXPECT_EQ(scalar.numel(), 1);
  EXPECT_NO_THROW(scalar.validate());
  EXPECT_TRUE(overlap(scalar, scalar));
  const Slice none = Slice::whole({0, 3});
  EXPECT_NO_THROW(none.validate());
  EXPECT_EQ(none.numel(), 0);
  EXPECT_FALSE(overlap(none, none));
  const Slice no_elements = Slice::range({4, 2}, {2, 1}, 8, 0);
  EXPECT_NO_THROW(no_elements.validate());
  EXPECT_EQ(needed_of(no_elements, Slice::whole({4, 2})).count, 0);
}

TEST(SliceTest, SaysWhatItIs) {
  EXPECT_EQ(Slice::box({8, 3}, {2, 0}, {2, 3}).to_string(), "[2:4, 0:3] of [8, 3]");
  EXPECT_EQ(Slice::range({8, 3}, {3, 1}, 5, 6).to_string(), "elements 5 to 11 of [8, 3]");
}

TEST(SliceTest, WhatCannotBeASliceIsRefused) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  const std::vector<std::pair<Slice, std::string>> wrong = {
      {Slice::box({8, 3}, {6, 0}, {3, 3}), "[6:9, 0:3] of [8, 3], lies outside"},
      {Slice::box({8, 3}, {-1, 0}, {3, 3}), "lies outside"},
      {Slice::box({8, 3}, {0, 0}, {-1, 3}), "lies outside"},
      {Slice::box({8, 3}, {INT64_MAX, 0}, {1, 3}), "lies outside"},
      {Slice::box({8, 3}, {0}, {8}), "another number of axes"},
      {Slice::range({8, 3}, {3, 1}, 20, 5), "lies outside"},
      {Slice::range({8, 3}, {3, 1}, -1, 5), "lies outside"},
      {Slice::range({8, 3}, {3, 1}, 1, INT64_MAX), "lies outside"},
      {Slice::range({8, 3}, {4, 1}, 0, 5), "strides that are not dense"},
      {Slice::range({8, 3}, {3, 0}, 0, 5), "strides that are not dense"},
      {Slice::range({8, 3}, {3}, 0, 5), "strides that are not dense"},
      {Slice::whole({kHuge, kHuge}), "cannot be counted"},
      {Slice::whole({-2, 3}), "cannot be counted"}};
  for (const auto& [slice, fault] : wrong) {
    try {
      slice.validate();
      ADD_FAILURE() << "accepted: " << slice.to_string();
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), HasSubstr(fault)) << slice.to_string();
    }
  }
}

}  // namespace
}  // namespace bunchtrain::tensor
