// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/ragged_knn.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "bunchtrain/core/error.hpp"
#include "knn_reference.hpp"
#include "tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

at::Tensor splits_of(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> splits{0};
  for (const std::int64_t size : sizes) splits.push_back(splits.back() + size);
  return at::tensor(splits, at::kLong);
}

at::Tensor one_set(const at::Tensor& points) { return splits_of({points.size(0)}); }

std::vector<std::int32_t> neighbours(const at::Tensor& points, const at::Tensor& row_splits, std::int64_t k) {
  return values<std::int32_t>(ops::ragged_knn(points, row_splits, {.k = k}).indices);
}

/// [N, k] flattened, by brute force in each set.
std::vector<std::int32_t> reference(const at::Tensor& points, const at::Tensor& row_splits, std::int64_t k) {
  std::vector<std::int32_t> all;
  const auto splits = values<std::int64_t>(row_splits);
  for (std::size_t s = 0; s + 1 < splits.size(); ++s) {
    const std::int64_t size = splits[s + 1] - splits[s];
    const auto set = reference_set<float, float>(points.narrow(0, splits[s], size).unsqueeze(0), {}, 0);
    const auto found = static_cast<std::size_t>(std::min(k, std::max<std::int64_t>(size - 1, 0)));
    for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i) {
      for (const std::int32_t index : set.neighbours(i, found))
        all.push_back(static_cast<std::int32_t>(splits[s]) + index);
      all.insert(all.end(), static_cast<std::size_t>(k) - found, -1);
    }
  }
  return all;
}

/// Of rows of `most` neighbours the first k.
std::vector<std::int32_t> first_of_rows(const std::vector<std::int32_t>& rows, std::int64_t most,
                                        std::int64_t k) {
  std::vector<std::int32_t> first;
  for (auto row = rows.begin(); row != rows.end(); row += most) first.insert(first.end(), row, row + k);
  return first;
}

void expect_reference(const at::Tensor& points, const at::Tensor& row_splits, std::int64_t k) {
  EXPECT_EQ(neighbours(points, row_splits, k), reference(points, row_splits, k))
      << points.sizes() << ", k " << k;
}

TEST(RaggedKnnTest, EqualsBruteForceForSetsOfAllSizes) {
  const at::Tensor splits = splits_of(
      {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 0, 0, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 255, 257, 300, 0});
  const std::int64_t size = splits[-1].item<std::int64_t>();
  const at::Tensor points = normal_tensor({size, 3}, 5);
  const auto expected = reference(points, splits, 64);
  for (const std::int64_t k : {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64})
    EXPECT_EQ(neighbours(points, splits, k), first_of_rows(expected, 64, k)) << "k " << k;
}

TEST(RaggedKnnTest, EqualsBruteForceInAllDimensions) {
  const at::Tensor splits = splits_of({5, 64, 300});
  const std::int64_t size = splits[-1].item<std::int64_t>();
  for (std::int64_t dims = 1; dims <= 8; ++dims)
    expect_reference(normal_tensor({size, dims}, static_cast<std::uint64_t>(100 + dims)), splits, 20);
}

/// Points that a search in space might find hard, [600, D].
std::vector<at::Tensor> hard_points(std::int64_t dims) {
  const at::Tensor normal = normal_tensor({600, dims}, 7);
  const at::Tensor centres = integer_tensor({600, dims}, 4, 8) * 100;
  at::Tensor flat = normal.clone(), thin = normal.clone(), halves = normal.clone() * 1e-3F;
  flat.select(1, dims - 1).fill_(3);
  thin.select(1, 0).mul_(1e-4F);
  halves.slice(0, 300).add_(1e6F);
  const at::Tensor line = at::arange(600, at::kFloat).unsqueeze(1).expand({600, dims}).contiguous();
  return {centres + normal,
          integer_tensor({600, dims}, 3, 9),  // most distances occur many times
          flat,
          thin,
          halves,
          line,
          line.flip(0) * 0.1F,
          at::cat({normal.slice(0, 0, 300), normal.slice(0, 0, 300)}),
          at::full({600, dims}, 0.3F),
          normal * 1e18F,
          normal * 1e30F,  // all distances overflow
          normal * 1e-22F,
          normal * 1e-38F};
}

TEST(RaggedKnnTest, EqualsBruteForceForHardPoints) {
  const auto cases = hard_points(3);
  const at::Tensor splits = splits_of({400, 200});
  for (std::size_t i = 0; i < cases.size(); ++i)
    ASSERT_EQ(neighbours(cases[i], splits, 40), reference(cases[i], splits, 40)) << "case " << i;
}

TEST(RaggedKnnTest, KeepsTiesWhenDenormalsAreFlushed) {
  const at::Tensor grid = integer_tensor({600, 2}, 4, 10);
  const auto expected = reference(grid, one_set(grid), 24);
  const bool flushing = at::globalContext().setFlushDenormal(true);
  const auto found = neighbours(grid, one_set(grid), 24);
  if (flushing) at::globalContext().setFlushDenormal(false);
  EXPECT_EQ(found, expected);
}

TEST(RaggedKnnTest, RanksNanLastAndInfinityBeforeIt) {
  at::Tensor points = normal_tensor({60, 3}, 11);
  points[3].fill_(kNan);
  points[5][1] = -kNan;
  points[7].fill_(kInfinity);
  points[9][0] = -kInfinity;
  points[9][2] = kNan;
  points[10][0] = kInfinity;
  points[11][0] = std::numeric_limits<float>::max();
  points[12][0] = -std::numeric_limits<float>::max();
  for (const std::int64_t k : {5, 52, 57, 60}) {
    expect_reference(points, one_set(points), k);
    expect_reference(points, splits_of({12, 6, 42}), k);
  }
}

TEST(RaggedKnnTest, AnswersForSetsWithoutANumber) {
  const at::Tensor nan = at::full({100'000, 3}, kNan);
  const auto found = neighbours(nan, one_set(nan), 3);
  for (std::int32_t i = 0; i < 100'000; ++i)
    for (std::int32_t n = 0; n < 3; ++n)
      ASSERT_EQ(found[static_cast<std::size_t>(i * 3 + n)], n < i ? n : n + 1);
  const at::Tensor infinite = integer_tensor({300, 2}, 3, 12) / integer_tensor({300, 2}, 2, 13);
  expect_reference(infinite, splits_of({100, 200}), 50);
}

// Large sets, against brute force for some of their points.
class RaggedKnnLargeTest : public testing::TestWithParam<std::int64_t> {
 protected:
  static void expect_reference_rows(const at::Tensor& points, std::int64_t k, std::int64_t step) {
    const auto found = neighbours(points, one_set(points), k);
    const auto set = reference_set<float, float>(points.unsqueeze(0), {}, 0);
    for (std::int64_t i = 0; i < points.size(0); i += step) {
      const auto row = found.begin() + i * k;
      ASSERT_EQ((std::vector<std::int32_t>{row, row + k}),
                set.neighbours(static_cast<std::size_t>(i), static_cast<std::size_t>(k)))
          << "point " << i;
    }
  }
};

TEST_P(RaggedKnnLargeTest, EqualsBruteForce) {
  const std::int64_t dims = GetParam();
  expect_reference_rows(normal_tensor({20'000, dims}, 14), 40, 1997);
  const at::Tensor centres = integer_tensor({20'000, dims}, 5, 15) * 30;
  expect_reference_rows(centres + normal_tensor({20'000, dims}, 16), 16, 1997);
}

INSTANTIATE_TEST_SUITE_P(Dims, RaggedKnnLargeTest, testing::Values(2, 3, 5, 8));

TEST_F(RaggedKnnLargeTest, TakesManyEqualPoints) {
  const at::Tensor equal = at::full({100'000, 4}, 0.25F);
  const auto found = neighbours(equal, one_set(equal), 5);
  for (std::int32_t i = 0; i < 100'000; ++i)
    for (std::int32_t n = 0; n < 5; ++n)
      ASSERT_EQ(found[static_cast<std::size_t>(i * 5 + n)], n < i ? n : n + 1);
}

TEST(RaggedKnnTest, FindsTheSameForAnyNumberOfThreads) {
  const at::Tensor points = normal_tensor({9000, 3}, 17);
  const at::Tensor splits = splits_of({10, 0, 8000, 90, 900});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto expected = neighbours(points, splits, 16);
  at::set_num_threads(3);
  EXPECT_EQ(neighbours(points, splits, 16), expected);
  at::set_num_threads(threads);
}

TEST(RaggedKnnTest, ReturnsSquaredDistances) {
  const at::Tensor points = normal_tensor({50, 3}, 18);
  const auto result = ops::ragged_knn(points, splits_of({40, 10}), {.k = 12, .squared_distances = true});
  const auto indices = values<std::int32_t>(result.indices);
  const auto distances = values<float>(result.squared_distances);
  const auto set = reference_set<float, float>(points.unsqueeze(0), {}, 0);
  for (std::size_t e = 0; e < indices.size(); ++e) {
    const float expected =
        indices[e] < 0 ? kInfinity : set.squared_distance(e / 12, static_cast<std::size_t>(indices[e]));
    ASSERT_EQ(distances[e], expected) << e;
  }
  EXPECT_FALSE(ops::ragged_knn(points, one_set(points), {.k = 12}).squared_distances.defined());
}

TEST(RaggedKnnTest, TakesStridedPointsShortSplitsAndNothing) {
  const at::Tensor columns = normal_tensor({3, 90}, 19);
  const at::Tensor splits = splits_of({50, 40});
  const auto expected = reference(columns.t().contiguous(), splits, 6);
  EXPECT_EQ(neighbours(columns.t(), splits, 6), expected);
  EXPECT_EQ(neighbours(columns.t(), splits.to(at::kInt), 6), expected);
  EXPECT_EQ(ops::ragged_knn(at::zeros({0, 3}), at::zeros({1}, at::kLong), {.k = 4}).indices.sizes(),
            (std::vector<std::int64_t>{0, 4}));
  EXPECT_EQ(neighbours(at::zeros({0, 3}), at::zeros({5}, at::kLong), 4), std::vector<std::int32_t>{});
}

std::string message_of(const at::Tensor& points, const at::Tensor& row_splits, std::int64_t k) {
  try {
    ops::ragged_knn(points, row_splits, {.k = k});
  } catch (const ConfigError& error) {
    return error.message();
  }
  return "no error";
}

TEST(RaggedKnnErrorsTest, NameFieldValueAndWhatIsAllowed) {
  const at::Tensor points = normal_tensor({8, 3}, 20), splits = splits_of({3, 5});
  EXPECT_THAT(message_of(points, splits, 0), HasSubstr("1 to 64"));
  EXPECT_THAT(message_of(points, splits, 65), HasSubstr("k of ragged_knn"));
  EXPECT_THAT(message_of(points.to(at::kDouble), splits, 2), HasSubstr("[N, D] float32"));
  EXPECT_THAT(message_of(points[0], splits, 2), HasSubstr("[3] Float"));
  EXPECT_THAT(message_of({}, splits, 2), HasSubstr("undefined"));
  EXPECT_THAT(message_of(at::zeros({8, 9}), splits, 2), HasSubstr("1 to 8 coordinates"));
  EXPECT_THAT(message_of(at::zeros({8, 0}), splits, 2), HasSubstr("1 to 8 coordinates"));
  EXPECT_THAT(message_of(at::zeros({1, 1}).expand({std::int64_t{1} << 31, 1}), splits, 2),
              HasSubstr("at most 2^31 - 1 points"));
  EXPECT_THAT(message_of(points, {}, 2), HasSubstr("row_splits of ragged_knn"));
  EXPECT_THAT(message_of(points, at::zeros({3}), 2), HasSubstr("int64 or int32"));
  EXPECT_THAT(message_of(points, at::zeros({0}, at::kLong), 2), HasSubstr("[S + 1]"));
  EXPECT_THAT(message_of(points, at::tensor({1, 8}, at::kLong), 2), HasSubstr("row_splits[0]"));
  EXPECT_THAT(message_of(points, at::tensor({0, 5, 4, 8}, at::kLong), 2), HasSubstr("5 to 8"));
  EXPECT_THAT(message_of(points, at::tensor({0, 9}, at::kLong), 2), HasSubstr("row_splits[1]"));
  EXPECT_THAT(message_of(points, at::tensor({0, 7}, at::kInt), 2), HasSubstr("8, the number of points"));
}

}  // namespace
}  // namespace bunchtrain::test
