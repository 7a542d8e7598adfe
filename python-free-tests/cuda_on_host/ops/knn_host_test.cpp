// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of kNN, run on the host, find exactly what the CPU finds.
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "knn/cpu/knn_cpu.hpp"
#include "knn/cuda/knn_kernels.hpp"

namespace bunchtrain::test {
namespace {

template <class Real>
struct Neighbours {
  std::vector<std::int32_t> indices;
  std::vector<Real> squared_distances;
};

/// Some sets of points with a mask or counts, or neither.
template <class Real>
struct Problem {
  int sets, num_points, dims, k;
  std::vector<Real> points;
  std::vector<char> mask;            ///< empty: none
  std::vector<std::int32_t> counts;  ///< empty: none

  bool real(int set, int point) const {
    if (!mask.empty()) return mask[static_cast<std::size_t>(set * num_points + point)] != 0;
    return counts.empty() || point < counts[static_cast<std::size_t>(set)];
  }

  Neighbours<Real> on_cpu() const {
    Neighbours<Real> found = make_output();
    const std::ptrdiff_t row = std::ptrdiff_t{num_points} * k;
    for (int b = 0; b < sets; ++b) {
      ops::detail::PointSet<Real> set{
          points.data() + std::ptrdiff_t{b} * num_points * dims, num_points, dims, {}};
      for (int i = 0; i < num_points; ++i)
        if (real(b, i)) set.real.push_back(i);
      find_neighbours(set, {k, found.indices.data() + b * row, found.squared_distances.data() + b * row});
    }
    return found;
  }

  /// Without distances other kernels may do it.
  Neighbours<Real> by_kernel(bool distances = true) const {
    Neighbours<Real> found = make_output();
    static_assert(sizeof(bool) == sizeof(char));
    launch_knn(
        ops::detail::KnnArguments<Real>{
            points.data(), mask.empty() ? nullptr : reinterpret_cast<const bool*>(mask.data()),
            counts.empty() ? nullptr : counts.data(), found.indices.data(),
            distances ? found.squared_distances.data() : nullptr, sets, num_points, dims, k},
        nullptr);
    return found;
  }

 private:
  Neighbours<Real> make_output() const {
    const auto size = static_cast<std::size_t>(sets * num_points * k);
    return {std::vector<std::int32_t>(size, -7), std::vector<Real>(size, Real{-7})};
  }
};

template <class Real>
class KnnKernelTest : public testing::Test {
 protected:
  Problem<Real> make_problem(int sets, int num_points, int dims, int k) {
    Problem<Real> problem{sets, num_points, dims, k, {}, {}, {}};
    problem.points.resize(static_cast<std::size_t>(sets * num_points * dims));
    for (Real& x : problem.points) x = static_cast<Real>(random_.normal());
    return problem;
  }

  void expect_equal(const Problem<Real>& problem) {
    const Neighbours<Real> expected = problem.on_cpu(), found = problem.by_kernel();
    ASSERT_EQ(found.indices, expected.indices) << describe(problem);
    ASSERT_EQ(problem.by_kernel(false).indices, expected.indices) << describe(problem) << ", indices alone";
    for (std::size_t i = 0; i < expected.indices.size(); ++i) {
      const Real a = found.squared_distances[i], b = expected.squared_distances[i];
      ASSERT_TRUE(a == b || (a != a && b != b)) << describe(problem) << ": " << a << " and " << b;
    }
  }

  static std::string describe(const Problem<Real>& p) {
    return std::to_string(p.num_points) + " points, D " + std::to_string(p.dims) + ", k " +
           std::to_string(p.k);
  }

  RandomSequence random_{CounterRandom(3, sizeof(Real))};
};

using Reals = testing::Types<float, double>;
TYPED_TEST_SUITE(KnnKernelTest, Reals);

TYPED_TEST(KnnKernelTest, FindsWhatTheCpuFinds) {
  for (const int dims : {1, 2, 3, 5, 8, 9, 16, 40})
    for (const int k : {1, 8, 16, 20, 32}) this->expect_equal(this->make_problem(2, 50, dims, k));
}

TYPED_TEST(KnnKernelTest, HandlesEverySizeAndMoreNeighboursThanANetworkHolds) {
  for (const int num_points : {2, 17, 31, 32, 33, 129, 140})
    for (const int k : {1, 15, 33, num_points - 1})
      if (k < num_points) this->expect_equal(this->make_problem(1, num_points, 2, k));
  this->expect_equal(this->make_problem(1, 70, 17, 69));
}

TYPED_TEST(KnnKernelTest, HonoursCounts) {
  auto problem = this->make_problem(40, 40, 2, 16);
  for (int n = 0; n < 40; ++n) problem.counts.push_back(n);
  this->expect_equal(problem);
}

TYPED_TEST(KnnKernelTest, HonoursMasksThatAreNotLeadingAndNeverReadsPadding) {
  for (const int dims : {2, 12}) {
    auto problem = this->make_problem(4, 37, dims, 16);
    problem.mask.resize(4 * 37);
    for (std::size_t i = 0; i < problem.mask.size(); ++i) {
      problem.mask[i] = this->random_.uniform() < 0.5;
      if (problem.mask[i] == 0)
        problem.points[i * static_cast<std::size_t>(dims)] = std::numeric_limits<TypeParam>::quiet_NaN();
    }
    this->expect_equal(problem);
  }
}

TYPED_TEST(KnnKernelTest, KeepsTiesInOrder) {
  for (const int dims : {2, 10}) {
    auto problem = this->make_problem(2, 64, dims, 32);
    for (TypeParam& x : problem.points) x = static_cast<TypeParam>(this->random_.below(3));
    this->expect_equal(problem);
    std::fill(problem.points.begin(), problem.points.end(), TypeParam{1});
    this->expect_equal(problem);
  }
}

TYPED_TEST(KnnKernelTest, TellsApartDistancesThatDifferInTheirLastBits) {
  for (const int dims : {1, 2, 4, 7, 16, 24}) {
    for (const int k : {3, 8, 15, 16}) {
      auto problem = this->make_problem(3, 128, dims, k);
      for (TypeParam& x : problem.points)
        x = static_cast<TypeParam>(this->random_.below(5)) +
            static_cast<TypeParam>(this->random_.below(9)) * TypeParam(1e-6);
      this->expect_equal(problem);
    }
  }
}

TYPED_TEST(KnnKernelTest, TakesManyDimensions) {
  for (const int dims : {64, 100, 256}) this->expect_equal(this->make_problem(1, 40, dims, 16));
}

TYPED_TEST(KnnKernelTest, RanksNanAndInfinityAsTheCpuDoes) {
  auto problem = this->make_problem(1, 30, 3, 29);
  problem.points[10] = std::numeric_limits<TypeParam>::quiet_NaN();
  problem.points[40] = -std::numeric_limits<TypeParam>::quiet_NaN();
  problem.points[70] = std::numeric_limits<TypeParam>::infinity();
  problem.points[80] = std::numeric_limits<TypeParam>::max();
  problem.counts = {28};
  for (const int k : {7, 16, 29}) {
    problem.k = k;
    this->expect_equal(problem);
  }
}

TYPED_TEST(KnnKernelTest, SplitsMoreSetsThanAGridHolds) {
  this->expect_equal(this->make_problem(65536, 2, 1, 1));
}

TEST(KnnKernelOrderTest, DoesNotDependOnTheOrderOfThreads) {
  Problem<float> problem{1, 140, 10, 16, {}, {}, {}};
  RandomSequence random(CounterRandom(4, 4));
  for (int i = 0; i < 1400; ++i) problem.points.push_back(static_cast<float>(random.normal()));
  const auto expected = problem.on_cpu();
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    host_cuda::set_seed(seed);
    ASSERT_EQ(problem.by_kernel().indices, expected.indices) << "seed " << seed;
  }
}

}  // namespace
}  // namespace bunchtrain::test
