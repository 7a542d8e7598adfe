// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of dropout, run on the host, give the bits of the CPU.
#include <gtest/gtest.h>

#include <cstring>

#include "dropout/cpu/dropout_kernel.hpp"

#include "dropout/cuda/dropout_launch.hpp"
#include "storage_values.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

TEST(RowKeysKernelTest, AreTheBitsOfTheCounterRandom) {
  for (const std::int64_t rows : {0, 1, 255, 256, 257}) {
    std::vector<std::int64_t> ids;
    for (std::int64_t row = 0; row < rows; ++row)
      ids.push_back(row % 2 ? std::numeric_limits<std::int64_t>::max() - row : row * 977);
    const host_cuda::GuardedBuffer<std::int64_t> from(ids);
    host_cuda::GuardedBuffer<std::int64_t> keys(ids.size());
    const KeyedStream stream{.seed = 0xDEADBEEF12345678, .site = 0x123456789ABCDEF0, .step = 9};
    launch_row_keys(rows, from.data(), stream, keys.data(), nullptr);
    const CounterRandom random(stream.seed, mix64(stream.site, 9));
    for (std::size_t row = 0; row < ids.size(); ++row)
      ASSERT_EQ(static_cast<std::uint64_t>(keys[row]), random.bits(static_cast<std::uint64_t>(ids[row])));
  }
}

/// As a captured launch is replayed: the step is the one in memory, whatever it was when it was captured.
TEST(RowKeysKernelTest, ReplaysDrawAnewByTheStepInMemory) {
  const std::vector<std::int64_t> ids = {3, 1, 4};
  const host_cuda::GuardedBuffer<std::int64_t> from(ids);
  host_cuda::GuardedBuffer<std::int64_t> keys(ids.size()), plain(ids.size());
  std::int64_t step = 0;
  const KeyedStream captured{.seed = 7, .site = 8, .step = 100, .step_in_memory = &step};
  for (step = 1; step <= 3; ++step) {
    launch_row_keys(3, from.data(), captured, keys.data(), nullptr);
    launch_row_keys(3, from.data(), {.seed = 7, .site = 8, .step = step}, plain.data(), nullptr);
    EXPECT_EQ(keys.values(), plain.values());
  }
}

template <class S>
class DropoutKernelTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kThreshold = 19661;
  static constexpr Real<S> kScale = Real<S>(65536.0 / (65536 - 19661));

  static host_cuda::GuardedBuffer<std::int64_t> make_keys(std::int64_t rows) {
    std::vector<std::int64_t> keys;
    for (std::int64_t row = 0; row < rows; ++row)
      keys.push_back(static_cast<std::int64_t>(mix64(5, static_cast<std::uint64_t>(row))));
    return host_cuda::GuardedBuffer<std::int64_t>(keys);
  }
  static Values<S> on_device(std::int64_t rows, Values<S>& x, bool aligned) {
    const auto keys = make_keys(rows);
    Values<S> y(x.size(), aligned);
    launch_drop(rows, x.size() / rows, x.data(), y.data(), keys.data(), kThreshold, kScale, nullptr);
    return y;
  }
  static Values<S> on_cpu(std::int64_t rows, Values<S>& x) {
    const auto keys = make_keys(rows);
    const std::int64_t elements = x.size() / rows;
    Values<S> y(x.size(), true);
    for (std::int64_t row = 0; row < rows; ++row)
      drop(x.data() + row * elements, y.data() + row * elements, 0, elements,
           static_cast<std::uint64_t>(keys[static_cast<std::size_t>(row)]), kThreshold, kScale);
    return y;
  }
  static bool same_bits(Values<S>& a, Values<S>& b) {
    return std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(S)) == 0;
  }
};

using Types = testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(DropoutKernelTest, Types);

TYPED_TEST(DropoutKernelTest, GivesTheBitsOfTheCpu) {
  for (const std::int64_t elements : {1, 15, 16, 17, 127, 128, 129, 256, 1000, 5003})
    for (const std::int64_t rows : {1, 2, 7})
      for (const bool aligned : {true, false}) {
        auto x = random_values<TypeParam>(rows * elements, 1, aligned);
        auto expected = this->on_cpu(rows, x), found = this->on_device(rows, x, aligned);
        ASSERT_TRUE(this->same_bits(found, expected)) << rows << " rows of " << elements;
      }
}

TYPED_TEST(DropoutKernelTest, GivesTheSameBitsInEveryOrderOfBlocks) {
  auto x = random_values<TypeParam>(std::int64_t{3} * 3000, 1, true);
  auto expected = this->on_cpu(3, x);
  for (const host_cuda::BlockOrder order : host_cuda::kBlockOrders) {
    host_cuda::set_block_order(order);
    auto found = this->on_device(3, x, true);
    EXPECT_TRUE(this->same_bits(found, expected));
  }
  host_cuda::set_block_order(host_cuda::BlockOrder::ascending);
}

TEST(DropoutKernelHalfTest, DropsTheElementsOfFloat) {
  auto wide = random_values<float>(2000, 1, true);
  auto narrow = random_values<Fp16>(2000, 1, true);
  const host_cuda::GuardedBuffer<std::int64_t> keys(std::vector<std::int64_t>{12, 13});
  constexpr float kScale = 1.4287F;
  launch_drop(2, 1000, wide.data(), wide.data(), keys.data(), 19661, kScale, nullptr);
  Values<Fp16> out(2000, true);
  launch_drop(2, 1000, narrow.data(), out.data(), keys.data(), 19661, kScale, nullptr);
  for (std::int64_t i = 0; i < 2000; ++i) {
    ASSERT_EQ(out.at(i) == 0, wide[i] == 0) << i;
    const auto kept = static_cast<float>(narrow.at(i)) * kScale;
    ASSERT_EQ(out.at(i), out.at(i) == 0 ? 0 : value_of(stored<Fp16>(kept))) << i;
  }
}

}  // namespace
}  // namespace bunchtrain::test
