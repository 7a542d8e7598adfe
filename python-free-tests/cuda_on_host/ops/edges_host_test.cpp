// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels over edges, run on the host, give the same bits as the CPU's loops.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <tuple>
#include <type_traits>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "edge_conv/cuda/edge_launch.hpp"
#include "runtime/guarded_buffer.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

template <class T>
T from_double(double value) {
  return static_cast<T>(value);
}
template <class T>
T rounded(float value) {
  T narrow;
  round_sums(&value, 1, &narrow);
  return narrow;
}
template <>
Bf16 from_double(double value) {
  return rounded<Bf16>(static_cast<float>(value));
}
template <>
Fp16 from_double(double value) {
  return rounded<Fp16>(static_cast<float>(value));
}

template <class T>
using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Sums as they are stored.
template <class T>
std::vector<T> stored(const std::vector<Sum<T>>& sums) {
  if constexpr (std::is_same_v<T, Sum<T>>) {
    return sums;
  } else {
    std::vector<T> narrow(sums.size());
    round_sums(sums.data(), static_cast<std::int64_t>(sums.size()), narrow.data());
    return narrow;
  }
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Which edges lead to each point, of all sets.
struct Lists {
  std::vector<std::int32_t> offsets, edges;
  std::int32_t fault = 0;
};

Lists list_by_kernel(const EdgeShape& shape, std::int64_t sets, const std::vector<std::int32_t>& indices) {
  const ReverseIndexPlan plan = plan_reverse_index(shape, sets);
  using host_cuda::GuardedBuffer;
  const GuardedBuffer<std::int32_t> from(indices);
  GuardedBuffer<std::int32_t> offsets(static_cast<std::size_t>(sets * (shape.points + 1))),
      edges(indices.size()), fault(std::vector<std::int32_t>{0});
  GuardedBuffer<unsigned char> scratch(static_cast<std::size_t>(plan.scratch_bytes()));
  launch_reverse_index(plan, shape, sets, from.data(), offsets.data(), edges.data(), scratch.data(),
                       fault.data(), nullptr);
  return {offsets.values(), edges.values(), fault[0]};
}

Lists list_simply(const EdgeShape& shape, std::int64_t sets, const std::vector<std::int32_t>& indices) {
  Lists lists;
  const auto set_edges = static_cast<std::int32_t>(shape.points * shape.neighbours);
  for (std::int64_t set = 0; set < sets; ++set) {
    std::int32_t listed = 0;
    for (std::int32_t point = 0; point < shape.points; ++point) {
      lists.offsets.push_back(listed);
      for (std::int32_t edge = 0; edge < set_edges; ++edge) {
        if (indices[static_cast<std::size_t>(set * set_edges + edge)] != point) continue;
        lists.edges.push_back(edge);
        ++listed;
      }
    }
    lists.offsets.push_back(listed);
  }
  return lists;
}

std::vector<std::int32_t> random_indices(const EdgeShape& shape, std::int64_t sets, std::uint64_t end) {
  RandomSequence random(CounterRandom(21, end));
  std::vector<std::int32_t> indices;
  for (std::int64_t e = 0; e < sets * shape.points * shape.neighbours; ++e)
    indices.push_back(static_cast<std::int32_t>(random.below(end)));
  return indices;
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
                     by_kernel.data(), &fault_, nullptr);
    EXPECT_EQ(fault_, 0);
    for (std::int64_t b = 0; b < sets_; ++b)
      spread_points<T>(shape_, 0, shape_.points, with_u ? u_.data() + b * nodes() : nullptr,
                       v_.data() + b * nodes(), indices_.data() + b * set_edges(),
                       by_loop.data() + b * set_edges() * shape_.channels);
    EXPECT_TRUE(same_bits(by_kernel, by_loop))
        << shape_.points << " points, " << shape_.channels << " channels";
  }

  void expect_equal_collect(bool with_u) {
    const Lists lists = list_by_kernel(shape_, sets_, indices_);
    EXPECT_EQ(lists.fault, 0);
    std::vector<T> u(u_.size()), v(v_.size());
    launch_collect<T>(shape_, sets_, edges_.data(), lists.offsets.data(), lists.edges.data(),
                      with_u ? u.data() : nullptr, v.data(), nullptr);

    std::vector<Sum<T>> u_sum(u_.size()), v_sum(v_.size());
    for (std::int64_t b = 0; b < sets_; ++b)
      collect_set<T, Sum<T>>(shape_, edges_.data() + b * set_edges() * shape_.channels,
                             indices_.data() + b * set_edges(), with_u ? u_sum.data() + b * nodes() : nullptr,
                             v_sum.data() + b * nodes());
    EXPECT_TRUE(same_bits(v, stored<T>(v_sum)))
        << shape_.points << " points, " << shape_.channels << " channels";
    if (with_u) {
      EXPECT_TRUE(same_bits(u, stored<T>(u_sum)))
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
  std::int32_t fault_ = 0;
  RandomSequence random_{CounterRandom(8, 1)};
  std::vector<T> u_, v_, edges_;
  std::vector<std::int32_t> indices_;
};

template <class T>
class EdgeKernelsTest : public testing::Test {};
using Types = testing::Types<float, double, Bf16, Fp16>;
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

void expect_equal_lists(const EdgeShape& shape, std::int64_t sets, std::uint64_t end) {
  SCOPED_TRACE(testing::Message() << sets << " sets of " << shape.points << " points, " << shape.neighbours
                                  << " neighbours, indices below " << end);
  const auto indices = random_indices(shape, sets, end);
  const Lists found = list_by_kernel(shape, sets, indices), expected = list_simply(shape, sets, indices);
  EXPECT_EQ(found.offsets, expected.offsets);
  EXPECT_EQ(found.edges, expected.edges);
  EXPECT_EQ(found.fault, 0);
}

TEST(ReverseIndexTest, SortsLargeSetsAsTheSimpleLoopLists) {
  const EdgeShape large{.points = 1200, .neighbours = 10, .channels = 1};
  ASSERT_TRUE(plan_reverse_index(large, 1).sorts());
  for (const std::int64_t sets : {1, 2, 3}) expect_equal_lists(large, sets, 1200);
  expect_equal_lists(large, 2, 1);                                              // all edges lead to one point
  expect_equal_lists(large, 2, 700);                                            // none to the last points
  expect_equal_lists({.points = 2, .neighbours = 4097, .channels = 1}, 2, 2);   // a digit
  expect_equal_lists({.points = 16, .neighbours = 768, .channels = 1}, 1, 16);  // whole tiles
  expect_equal_lists({.points = 1, .neighbours = 9000, .channels = 1}, 1, 1);
}

TEST(ReverseIndexTest, SortsInAnyOrderOfThreadsAndBlocks) {
  const EdgeShape shape{.points = 300, .neighbours = 50, .channels = 1};
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    host_cuda::set_seed(seed);
    expect_equal_lists(shape, 2, 300);
  }
}

TEST(ReverseIndexTest, CountsWithSixtyFourBits) {
  // Sizes alone: 2.6e9 edges of all sets, which 32 bits do not hold.
  const EdgeShape shape{.points = 100000, .neighbours = 256, .channels = 1};
  const ReverseIndexPlan plan = plan_reverse_index(shape, 101);
  EXPECT_EQ(plan.num_edges, 2585600000);
  EXPECT_EQ(plan.tiles, 631250);
  EXPECT_EQ(plan.passes, 6);  // 10,100,000 points: 24 bits
  EXPECT_EQ(plan.scratch_bytes(), 631250LL * 16 * 8 + 3 * 2585600000LL * 4);
  EXPECT_TRUE(can_be_numbered(shape, 101));
  EXPECT_FALSE(can_be_numbered({.points = 1 << 20, .neighbours = 1 << 11, .channels = 1}, 1));
  EXPECT_FALSE(can_be_numbered({.points = 1 << 20, .neighbours = 1, .channels = 1}, std::int64_t{1} << 13));
  EXPECT_FALSE(can_be_numbered({.points = std::int64_t{1} << 40, .neighbours = 1 << 30, .channels = 1}, 1));
  EXPECT_TRUE(can_be_numbered({.points = 0, .neighbours = 5, .channels = 1}, 3));
  EXPECT_FALSE(plan_reverse_index({.points = 128, .neighbours = 16, .channels = 64}, 1024).sorts());
}

TEST(BadIndexTest, RaisesTheFlagAndCountsAsTheNearestPoint) {
  for (const std::int64_t points : {20, 1200}) {  // a block per set, and the sort
    const EdgeShape shape{.points = points, .neighbours = 9, .channels = 4};
    auto indices = random_indices(shape, 2, static_cast<std::uint64_t>(points)), nearest = indices;
    const auto last = static_cast<std::int32_t>(points - 1);
    for (const auto& [place, bad, good] : {std::tuple{3, -1, 0}, std::tuple{50, last + 1, last},
                                           std::tuple{99, std::numeric_limits<std::int32_t>::max(), last},
                                           std::tuple{120, std::numeric_limits<std::int32_t>::min(), 0}}) {
      indices[static_cast<std::size_t>(place)] = bad;
      nearest[static_cast<std::size_t>(place)] = good;
    }
    const Lists found = list_by_kernel(shape, 2, indices), expected = list_simply(shape, 2, nearest);
    EXPECT_EQ(found.fault, 1);
    EXPECT_EQ(found.offsets, expected.offsets);
    EXPECT_EQ(found.edges, expected.edges);

    host_cuda::GuardedBuffer<float> v(static_cast<std::size_t>(2 * points * 4));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
    std::vector<float> out(indices.size() * 4);
    std::int32_t fault = 0;
    launch_spread<float>(shape, 2, nullptr, v.data(), indices.data(), out.data(), &fault, nullptr);
    EXPECT_EQ(fault, 1);
    EXPECT_EQ(out[3 * 4], 0.0F);
    EXPECT_EQ(out[50 * 4], static_cast<float>(4 * last));
  }
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
