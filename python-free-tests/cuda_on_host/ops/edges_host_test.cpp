// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels over edges, run on the host, give the same bits as the CPU's loops.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "cuda/edge_launch.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

template <class T>
T from_double(double value) {
  return static_cast<T>(value);
}
template <>
Bfloat16Bits from_double(double value) {
  const auto narrow = static_cast<float>(value);
  Bfloat16Bits rounded;
  round_to_bfloat16(&narrow, 1, &rounded);
  return rounded;
}

template <class T>
struct SumOf {
  using Type = T;
};
template <>
struct SumOf<Bfloat16Bits> {
  using Type = float;
};

std::vector<Bfloat16Bits> rounded(const std::vector<float>& sums, Bfloat16Bits) {
  std::vector<Bfloat16Bits> narrow(sums.size());
  round_to_bfloat16(sums.data(), static_cast<std::int64_t>(sums.size()), narrow.data());
  return narrow;
}
template <class T>
std::vector<T> rounded(const std::vector<T>& sums, T) {
  return sums;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Random values and edges for some sets; results by kernel and by the CPU's loops.
template <class T>
class EdgeProblem {
 public:
  EdgeProblem(std::int64_t sets, EdgeShape shape) : sets_(sets), shape_(shape) {
    u_ = random_values(sets * shape.points * shape.channels);
    v_ = random_values(sets * shape.points * shape.channels);
    edges_ = random_values(sets * shape.points * shape.neighbours * shape.channels);
    for (std::int64_t e = 0; e < sets * shape.points * shape.neighbours; ++e)
      indices_.push_back(
          static_cast<std::int32_t>(random_.below(static_cast<std::uint64_t>(shape.points + 1) * 3 / 4)));
  }

  void expect_equal_spread(bool with_u) {
    std::vector<T> by_kernel(edges_.size()), by_loop(edges_.size());
    launch_spread<T>(shape_, sets_, with_u ? u_.data() : nullptr, v_.data(), indices_.data(),
                     by_kernel.data(), nullptr);
    for (std::int64_t b = 0; b < sets_; ++b)
      spread_points<T>(shape_, 0, shape_.points, with_u ? u_.data() + b * nodes() : nullptr,
                       v_.data() + b * nodes(), indices_.data() + b * set_edges(),
                       by_loop.data() + b * set_edges() * shape_.channels);
    EXPECT_TRUE(same_bits(by_kernel, by_loop))
        << shape_.points << " points, " << shape_.channels << " channels";
  }

  void expect_equal_collect(bool with_u) {
    std::vector<std::int32_t> offsets(static_cast<std::size_t>(sets_ * (shape_.points + 1))),
        order(indices_.size());
    launch_reverse_index(shape_, sets_, indices_.data(), offsets.data(), order.data(), nullptr);
    std::vector<T> u(u_.size()), v(v_.size());
    launch_collect<T>(shape_, sets_, edges_.data(), offsets.data(), order.data(), with_u ? u.data() : nullptr,
                      v.data(), nullptr);

    using Sum = typename SumOf<T>::Type;
    std::vector<Sum> u_sum(u_.size()), v_sum(v_.size());
    for (std::int64_t b = 0; b < sets_; ++b)
      collect_set<T, Sum>(shape_, edges_.data() + b * set_edges() * shape_.channels,
                          indices_.data() + b * set_edges(), with_u ? u_sum.data() + b * nodes() : nullptr,
                          v_sum.data() + b * nodes());
    EXPECT_TRUE(same_bits(v, rounded(v_sum, T{})))
        << shape_.points << " points, " << shape_.channels << " channels";
    if (with_u) {
      EXPECT_TRUE(same_bits(u, rounded(u_sum, T{})))
          << shape_.points << " points, " << shape_.channels << " channels";
    }
  }

 private:
  std::int64_t nodes() const { return shape_.points * shape_.channels; }
  std::int64_t set_edges() const { return shape_.points * shape_.neighbours; }
  std::vector<T> random_values(std::int64_t count) {
    std::vector<T> all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(from_double<T>(random_.normal()));
    return all;
  }

  std::int64_t sets_;
  EdgeShape shape_;
  RandomSequence random_{CounterRandom(8, 1)};
  std::vector<T> u_, v_, edges_;
  std::vector<std::int32_t> indices_;
};

template <class T>
class EdgeKernelsTest : public testing::Test {};
using Types = testing::Types<float, double, Bfloat16Bits>;
TYPED_TEST_SUITE(EdgeKernelsTest, Types);

TYPED_TEST(EdgeKernelsTest, GiveTheBitsOfTheLoops) {
  for (const std::int64_t channels : {1, 3, 4, 8, 40, 64, 130}) {
    EdgeProblem<TypeParam> problem(3, {20, 7, channels});
    for (const bool with_u : {false, true}) {
      problem.expect_equal_spread(with_u);
      problem.expect_equal_collect(with_u);
    }
  }
}

TYPED_TEST(EdgeKernelsTest, HandleMorePointsThanThreadsAndMoreEdgesThanATile) {
  EdgeProblem<TypeParam> problem(1, {300, 16, 4});
  problem.expect_equal_collect(true);
  EdgeProblem<TypeParam> smallest(2, {2, 1, 4});
  smallest.expect_equal_collect(true);
  smallest.expect_equal_spread(true);
}

TEST(EdgeKernelsOrderTest, DoNotDependOnTheOrderOfThreads) {
  EdgeProblem<float> problem(2, {50, 9, 6});
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    host_cuda::set_seed(seed);
    problem.expect_equal_collect(true);
  }
}

}  // namespace
}  // namespace bunchtrain::test
