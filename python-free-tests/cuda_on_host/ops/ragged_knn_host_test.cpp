// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of ragged kNN, run on the host, find exactly what comparing all points finds.
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "knn/cpu/ragged_search.hpp"
#include "knn/cuda/ragged_knn_kernels.hpp"

namespace bunchtrain::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Found {
  std::vector<std::int32_t> indices;
  std::vector<float> squared_distances;
};

struct Problem {
  std::vector<float> points;
  std::vector<std::int64_t> row_splits;
  int dims;

  std::int64_t size() const { return row_splits.back(); }
  float& at(std::int64_t point, int d) { return points[static_cast<std::size_t>(point * dims + d)]; }

  Found by_comparing_all(int k) const {
    Found found = make_output(k);
    const ops::detail::RaggedPoints ragged{points.data(), dims, row_splits};
    const auto tree = ops::detail::build_point_tree(
        ragged, [](std::int64_t count, std::int64_t, const auto& part) { part(0, count); });
    const ops::detail::RaggedRows rows{k, found.indices.data(), found.squared_distances.data()};
    search_blocks_plain(tree, 0, tree.num_blocks(), rows);
    for (std::int64_t set = 0; set < ragged.num_sets(); ++set) search_odd_points(ragged, tree, set, rows);
    return found;
  }

  Found by_kernel(int k, const std::vector<std::int64_t>& splits) const {
    Found found = make_output(k);
    const ops::detail::RaggedKnnArguments arguments{points.data(),
                                                    splits.data(),
                                                    found.indices.data(),
                                                    found.squared_distances.data(),
                                                    size(),
                                                    static_cast<std::int64_t>(splits.size()) - 1,
                                                    dims,
                                                    k};
    // Nothing may be taken from memory that was not written.
    std::vector<std::uint64_t> scratch(static_cast<std::size_t>(ragged_knn_scratch_bytes(arguments) / 8 + 1),
                                       ~0ull);
    launch_ragged_knn(arguments, scratch.data(), nullptr);
    return found;
  }

  void expect_equal(int k) const {
    const Found expected = by_comparing_all(k), found = by_kernel(k, row_splits);
    ASSERT_EQ(found.indices, expected.indices) << size() << " points, D " << dims << ", k " << k;
    for (std::size_t i = 0; i < expected.indices.size(); ++i) {
      const float a = found.squared_distances[i], b = expected.squared_distances[i];
      ASSERT_TRUE(a == b || (a != a && b != b)) << a << " and " << b;
    }
  }

 private:
  Found make_output(int k) const {
    const auto count = static_cast<std::size_t>(size() * k);
    return {std::vector<std::int32_t>(count, -7), std::vector<float>(count, -7.0F)};
  }
};

class RaggedKnnKernelTest : public testing::Test {
 protected:
  Problem make_problem(const std::vector<std::int64_t>& sizes, int dims) {
    Problem problem{{}, {0}, dims};
    for (const std::int64_t size : sizes) problem.row_splits.push_back(problem.row_splits.back() + size);
    for (std::int64_t i = 0; i < problem.size() * dims; ++i)
      problem.points.push_back(static_cast<float>(random_.normal()));
    return problem;
  }

  RandomSequence random_{CounterRandom(3, 3)};
};

TEST_F(RaggedKnnKernelTest, FindsWhatComparingAllFinds) {
  for (int dims = 1; dims <= 8; ++dims) make_problem({50, 0, 90}, dims).expect_equal(16);
  for (const int k : {1, 15, 16, 17, 40, 64}) make_problem({1, 0, 2, 31, 32, 33, 65, 0}, 3).expect_equal(k);
}

TEST_F(RaggedKnnKernelTest, LeavesBlocksOutAndFindsTheSame) {
  Problem problem = make_problem({1800, 400}, 3);
  for (std::int64_t i = 0; i < problem.size(); ++i)
    problem.at(i, 0) += static_cast<float>(random_.below(5)) * 20.0F;
  problem.expect_equal(24);
}

TEST_F(RaggedKnnKernelTest, KeepsTiesInOrder) {
  Problem problem = make_problem({200, 100}, 2);
  for (float& x : problem.points) x = static_cast<float>(random_.below(4));
  problem.expect_equal(20);
  std::fill(problem.points.begin(), problem.points.end(), 0.5F);
  problem.expect_equal(33);
}

TEST_F(RaggedKnnKernelTest, TakesPointsOfAnyMagnitudeOnALineAndFarApart) {
  for (const float scale : {1e-38F, 1e-22F, 1e18F, 1e38F}) {
    Problem problem = make_problem({70, 50}, 3);
    for (float& x : problem.points) x *= scale;
    problem.expect_equal(40);
  }
  Problem line = make_problem({150}, 2);
  std::iota(line.points.begin(), line.points.end(), 0.0F);
  for (std::int64_t i = 75; i < 150; ++i) line.at(i, 1) += 1e6F;
  line.expect_equal(16);
}

TEST_F(RaggedKnnKernelTest, RanksNanLastAndInfinityBeforeIt) {
  Problem problem = make_problem({60, 40, 40}, 3);
  problem.at(3, 0) = kNan;
  problem.at(4, 2) = -kInfinity;
  problem.at(5, 0) = kInfinity;
  problem.at(6, 0) = kInfinity;
  problem.at(7, 1) = std::numeric_limits<float>::max();
  problem.at(8, 1) = -std::numeric_limits<float>::max();
  for (std::int64_t i = 60; i < 100; ++i) problem.at(i, 1) = kNan;
  for (std::int64_t i = 100; i < 140; ++i)
    problem.at(i, 1) = random_.uniform() < 0.5 ? kInfinity : -kInfinity;
  for (const int k : {5, 57, 64}) problem.expect_equal(k);
}

TEST_F(RaggedKnnKernelTest, ServesMoreSetsThanOneDigitCounts) {
  std::vector<std::int64_t> sizes;
  for (int set = 0; set < 300; ++set) sizes.push_back(static_cast<std::int64_t>(random_.below(6)));
  make_problem(sizes, 2).expect_equal(4);
}

TEST_F(RaggedKnnKernelTest, TakesSplitsOutOfOrderAsTheNearestAllowed) {
  Problem problem = make_problem({20, 0, 30}, 2);
  EXPECT_EQ(problem.by_kernel(5, {-4, 20, 7, 90}).indices, problem.by_comparing_all(5).indices);
}

TEST_F(RaggedKnnKernelTest, DoesNotDependOnTheOrderOfThreads) {
  const Problem problem = make_problem({140, 60}, 3);
  const auto expected = problem.by_comparing_all(20);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    host_cuda::set_seed(seed);
    ASSERT_EQ(problem.by_kernel(20, problem.row_splits).indices, expected.indices) << "seed " << seed;
  }
}

}  // namespace
}  // namespace bunchtrain::test
