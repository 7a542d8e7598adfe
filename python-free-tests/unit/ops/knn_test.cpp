// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/knn.hpp"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
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

std::vector<std::int32_t> neighbours(const at::Tensor& points,
                                     const std::optional<at::Tensor>& mask_or_counts, std::int64_t k) {
  return values<std::int32_t>(ops::knn(points, mask_or_counts, {.k = k}).indices);
}

/// [B, P] bool, true with the probability given.
at::Tensor random_mask(std::int64_t sets, std::int64_t points, double probability, std::uint64_t seed) {
  return normal_tensor({sets, points}, seed, at::kDouble).lt(2 * probability - 1).contiguous();
}

struct KnnCase {
  std::int64_t points;
  std::int64_t dims;
  std::int64_t k;
};

std::ostream& operator<<(std::ostream& out, const KnnCase& c) {
  return out << c.points << " points, D " << c.dims << ", k " << c.k;
}

class KnnShapesTest : public testing::TestWithParam<KnnCase> {};

TEST_P(KnnShapesTest, EqualsTheFloat32Reference) {
  const auto [points, dims, k] = GetParam();
  const at::Tensor cloud = normal_tensor({3, points, dims}, 11);
  EXPECT_EQ(neighbours(cloud, std::nullopt, k), reference_knn<float>(cloud, {}, k));
}

TEST_P(KnnShapesTest, EqualsTheFloat64ReferenceInDouble) {
  const auto [points, dims, k] = GetParam();
  const at::Tensor cloud = normal_tensor({2, points, dims}, 12, at::kDouble);
  EXPECT_EQ(neighbours(cloud, std::nullopt, k), reference_knn<double>(cloud, {}, k));
}

TEST_P(KnnShapesTest, KeepsTiesInOrderOnAnIntegerGrid) {
  const auto [points, dims, k] = GetParam();
  // All distances are exact, most occur many times.
  const at::Tensor grid = integer_tensor({3, points, dims}, 3, 13);
  EXPECT_EQ(neighbours(grid, std::nullopt, k), reference_knn<double>(grid.to(at::kDouble), {}, k));
}

TEST_P(KnnShapesTest, HonoursMasksThatAreNotLeading) {
  const auto [points, dims, k] = GetParam();
  const at::Tensor cloud = normal_tensor({4, points, dims}, 14);
  const at::Tensor mask = random_mask(4, points, 0.6, 15);
  EXPECT_EQ(neighbours(cloud, mask, k), reference_knn<float>(cloud, mask, k));
}

// The distances of the neighbours found, in float64, are those of the true neighbours up to float32 rounding.
TEST_P(KnnShapesTest, FindsTheTrueNeighboursUpToFloat32Ties) {
  const auto [points, dims, k] = GetParam();
  const at::Tensor cloud = normal_tensor({2, points, dims}, 16);
  const auto found = neighbours(cloud, std::nullopt, k);
  const double tolerance = 1.2e-7 * static_cast<double>(dims + 2);
  for (std::int64_t b = 0; b < 2; ++b) {
    const auto set = reference_set<double, float>(cloud, {}, b);
    for (std::size_t i = 0; i < set.points.size(); ++i) {
      const auto truth = set.neighbours(i, static_cast<std::size_t>(k));
      for (std::size_t n = 0; n < truth.size(); ++n) {
        const std::size_t at = (static_cast<std::size_t>(b * points) + i) * static_cast<std::size_t>(k) + n;
        const double expected = set.squared_distance(i, static_cast<std::size_t>(truth[n]));
        ASSERT_NEAR(set.squared_distance(i, static_cast<std::size_t>(found[at])), expected,
                    tolerance * expected);
      }
    }
  }
}

std::vector<KnnCase> shapes() {
  std::vector<KnnCase> cases;
  for (std::int64_t k = 1; k <= 33; ++k) cases.push_back({40, 3, k});
  for (const std::int64_t dims : {1, 2, 4, 5, 7, 8, 9, 15, 16, 64, 128}) cases.push_back({65, dims, 16});
  for (const std::int64_t points : {2, 3, 15, 16, 17, 18, 31, 32, 33, 34, 100, 127, 128, 129, 300})
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{16}, points - 1})
      if (k < points) cases.push_back({points, 2, k});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, KnnShapesTest, testing::ValuesIn(shapes()));

TEST(KnnTest, FillsRowsOfEveryNumberOfRealPoints) {
  constexpr std::int64_t kPoints = 40, kNeighbours = 16;
  const at::Tensor cloud = normal_tensor({kPoints + 1, kPoints, 2}, 21);
  const at::Tensor counts = at::arange(kPoints + 1, at::kLong);  // 0, 1, 2 ... all real
  const at::Tensor mask = at::arange(kPoints).unsqueeze(0).lt(counts.unsqueeze(1)).contiguous();
  const auto expected = reference_knn<float>(cloud, mask, kNeighbours);
  EXPECT_EQ(neighbours(cloud, mask, kNeighbours), expected);
  EXPECT_EQ(neighbours(cloud, counts, kNeighbours), expected);
  EXPECT_EQ(neighbours(cloud, counts.to(at::kInt), kNeighbours), expected);
}

TEST(KnnTest, GivesLowestOthersWhereNothingIsReal) {
  const at::Tensor cloud = normal_tensor({1, 4, 2}, 22);
  const std::vector<std::int32_t> expected{1, 2, 0, 2, 0, 1, 0, 1};
  EXPECT_EQ(neighbours(cloud, at::zeros({1}, at::kInt), 2), expected);
  EXPECT_EQ(neighbours(cloud, at::zeros({1, 4}, at::kBool), 2), expected);
}

TEST(KnnTest, NeverReadsPaddedPoints) {
  const at::Tensor counts = at::full({2}, 20, at::kInt);
  at::Tensor cloud = normal_tensor({2, 32, 3}, 23);
  const auto expected = neighbours(cloud, counts, 16);
  cloud.slice(1, 20).fill_(kNan);
  EXPECT_EQ(neighbours(cloud, counts, 16), expected);
}

TEST(KnnTest, OrdersEqualPointsByIndex) {
  const at::Tensor cloud = at::full({1, 50, 4}, 0.3F);
  const auto found = neighbours(cloud, std::nullopt, 32);
  for (std::int32_t i = 0; i < 50; ++i)
    for (std::int32_t n = 0; n < 32; ++n)
      ASSERT_EQ(found[static_cast<std::size_t>(i * 32 + n)], n < i ? n : n + 1);
}

TEST(KnnTest, KeepsDuplicatesAsNeighboursAndExcludesOnlyThePointItself) {
  const at::Tensor half = normal_tensor({2, 20, 2}, 24);
  const at::Tensor twice = at::cat({half, half}, 1);
  const auto found = neighbours(twice, std::nullopt, 5);
  EXPECT_EQ(found, reference_knn<float>(twice, {}, 5));
  for (std::int32_t i = 0; i < 40; ++i) EXPECT_EQ(found[static_cast<std::size_t>(i * 5)], (i + 20) % 40);
}

TEST(KnnTest, RanksNanAfterAllNumbersAndBeforePadding) {
  at::Tensor cloud = normal_tensor({1, 12, 3}, 25);
  cloud[0][3].fill_(kNan);
  cloud[0][5][1] = -kNan;
  cloud[0][7].fill_(std::numeric_limits<float>::infinity());
  at::Tensor mask = at::full({1, 12}, true, at::kBool);
  mask[0][1] = false;
  for (const std::int64_t k : {3, 8, 11})
    EXPECT_EQ(neighbours(cloud, mask, k), reference_knn<float>(cloud, mask, k));
  const auto row = neighbours(cloud, mask, 11);
  EXPECT_EQ((std::vector<std::int32_t>{row.begin() + 7, row.begin() + 11}),
            (std::vector<std::int32_t>{7, 3, 5, 1}));
}

TEST(KnnTest, SurvivesExtremeMagnitudes) {
  for (const float scale : {1e-22F, 1e-38F, 1e18F, 3e19F, 1e30F}) {
    const at::Tensor cloud = normal_tensor({1, 64, 2}, 26) * scale;
    EXPECT_EQ(neighbours(cloud, std::nullopt, 20), reference_knn<float>(cloud, {}, 20)) << scale;
  }
  const at::Tensor clusters =
      at::cat({normal_tensor({1, 30, 2}, 27) * 1e-3F, normal_tensor({1, 30, 2}, 28) * 1e-3F + 1e6F}, 1);
  EXPECT_EQ(neighbours(clusters, std::nullopt, 31), reference_knn<float>(clusters, {}, 31));
}

TEST(KnnTest, KeepsTiesAtDistanceZeroWhenDenormalsAreFlushed) {
  const at::Tensor cloud = integer_tensor({2, 64, 2}, 2, 29);
  const auto expected = reference_knn<float>(cloud, {}, 24);
  const bool flushing = at::globalContext().setFlushDenormal(true);
  const auto found = neighbours(cloud, std::nullopt, 24);
  if (flushing) at::globalContext().setFlushDenormal(false);
  EXPECT_EQ(found, expected);
}

TEST(KnnTest, HandlesSortedDistances) {
  for (const std::int64_t step : {1, -1}) {
    const at::Tensor line = (at::arange(128, at::kFloat) * step).reshape({1, 128, 1});
    EXPECT_EQ(neighbours(line, std::nullopt, 16), reference_knn<float>(line, {}, 16));
  }
}

TEST(KnnTest, FollowsAPermutationOfThePoints) {
  const at::Tensor cloud = normal_tensor({1, 90, 5}, 30);
  const at::Tensor order = (at::arange(90, at::kLong) * 37).remainder(90);
  const at::Tensor shuffled = at::index_select(cloud, 1, order);
  const at::Tensor direct = at::index_select(ops::knn(cloud, std::nullopt, {.k = 16}).indices, 1, order);
  const at::Tensor mapped =
      at::index_select(order, 0, ops::knn(shuffled, std::nullopt, {.k = 16}).indices.reshape(-1));
  EXPECT_TRUE(mapped.reshape({1, 90, 16}).equal(direct.to(at::kLong)));
}

TEST(KnnTest, TreatsSetsOneByOne) {
  const at::Tensor cloud = normal_tensor({5, 33, 3}, 31);
  const at::Tensor counts = at::tensor({33, 0, 5, 17, 1}, at::kInt);
  const at::Tensor together = ops::knn(cloud, counts, {.k = 8}).indices;
  for (std::int64_t b = 0; b < 5; ++b)
    EXPECT_TRUE(ops::knn(cloud.narrow(0, b, 1), counts.narrow(0, b, 1), {.k = 8})
                    .indices.equal(together.narrow(0, b, 1)));
}

TEST(KnnTest, ReturnsSquaredDistances) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const at::Tensor cloud = normal_tensor({1, 20, 3}, 32, type);
    const at::Tensor counts = at::full({1}, 10, at::kInt);
    const auto result = ops::knn(cloud, counts, {.k = 12, .squared_distances = true});
    ASSERT_EQ(result.squared_distances.scalar_type(), type);
    const at::Tensor i = cloud.narrow(1, 0, 10).unsqueeze(2);
    const at::Tensor j = at::index_select(cloud, 1, result.indices.slice(1, 0, 10).slice(2, 0, 9).reshape(-1))
                             .reshape({1, 10, 9, 3});
    EXPECT_TRUE(
        result.squared_distances.slice(1, 0, 10).slice(2, 0, 9).allclose((i - j).square().sum(3), 1e-6));
    EXPECT_TRUE(result.squared_distances.slice(2, 9).isinf().all().item<bool>());
    EXPECT_TRUE(result.squared_distances.slice(1, 10).isinf().all().item<bool>());
  }
  EXPECT_FALSE(ops::knn(normal_tensor({1, 20, 3}, 32), std::nullopt, {.k = 12}).squared_distances.defined());
}

TEST(KnnTest, AcceptsEmptyBatchesAndStridedPoints) {
  EXPECT_EQ(ops::knn(at::zeros({0, 20, 2}), std::nullopt, {.k = 3}).indices.sizes(),
            (std::vector<std::int64_t>{0, 20, 3}));
  const at::Tensor columns = normal_tensor({2, 3, 40}, 33);
  EXPECT_EQ(neighbours(columns.transpose(1, 2), std::nullopt, 4),
            reference_knn<float>(columns.transpose(1, 2).contiguous(), {}, 4));
}

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.message();
  }
  return "no error";
}

TEST(KnnErrorsTest, NameFieldValueAndWhatIsAllowed) {
  const at::Tensor cloud = normal_tensor({2, 8, 3}, 34);
  const auto message = [&](const at::Tensor& points, const std::optional<at::Tensor>& mask, std::int64_t k) {
    return message_of([&] { ops::knn(points, mask, {.k = k}); });
  };
  EXPECT_THAT(message(cloud, std::nullopt, 8), HasSubstr("1 to 7"));
  EXPECT_THAT(message(cloud, std::nullopt, 0), HasSubstr("k of knn"));
  EXPECT_THAT(message(cloud[0], std::nullopt, 2), HasSubstr("[8, 3] Float"));
  EXPECT_THAT(message(cloud.to(at::kBFloat16), std::nullopt, 2), HasSubstr("float32 or float64"));
  EXPECT_THAT(message({}, std::nullopt, 2), HasSubstr("undefined"));
  EXPECT_THAT(message(at::zeros({1, 1, 1}).expand({1, std::int64_t{1} << 31, 1}), std::nullopt, 2),
              HasSubstr("at most 2^31 - 1 points"));
  EXPECT_THAT(message(cloud, at::zeros({2, 7}, at::kBool), 2), HasSubstr("[2, 8] bool"));
  EXPECT_THAT(message(cloud, at::zeros({2}, at::kFloat), 2), HasSubstr("mask or counts"));
  EXPECT_THAT(message(cloud, at::tensor({3, 9}, at::kInt), 2), HasSubstr("counts[1]"));
  EXPECT_THAT(message(cloud, at::tensor({-1, 3}, at::kInt), 2), HasSubstr("-1"));
}

}  // namespace
}  // namespace bunchtrain::test
