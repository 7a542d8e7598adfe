// SPDX-License-Identifier: Apache-2.0
// The CUDA kernel of keyed random numbers, run on the host, gives the CPU's.
#include <gtest/gtest.h>

#include "random/cuda/keyed_random_launch.hpp"
#include "storage_values.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

constexpr KeyedStream kStream{.seed = 0xFEDCBA9876543210, .site = 0x0123456789ABCDEF, .step = 12};

std::vector<float> drawn(const std::vector<std::int64_t>& ids, std::int64_t columns,
                         Distribution distribution, const KeyedStream& stream = kStream) {
  const host_cuda::GuardedBuffer<std::int64_t> keys(ids);
  host_cuda::GuardedBuffer<float> out(ids.size() * static_cast<std::size_t>(columns));
  launch_keyed_random(static_cast<std::int64_t>(ids.size()), columns, keys.data(), stream, distribution,
                      out.data(), nullptr);
  return out.values();
}

TEST(KeyedRandomKernelTest, GivesTheNumbersOfTheCounterRandom) {
  const std::vector<std::int64_t> ids = {0, 1, 77, std::numeric_limits<std::int64_t>::max(), -3};
  for (const std::int64_t columns : {1, 50, 257}) {
    const auto uniform = drawn(ids, columns, Distribution::uniform),
               normal = drawn(ids, columns, Distribution::normal);
    for (std::size_t row = 0; row < ids.size(); ++row) {
      const CounterRandom sample =
          CounterRandom(kStream.seed, mix64(kStream.site, 12)).child(static_cast<std::uint64_t>(ids[row]));
      for (std::int64_t i = 0; i < columns; ++i) {
        const auto place = row * static_cast<std::size_t>(columns) + static_cast<std::size_t>(i);
        ASSERT_EQ(uniform[place], static_cast<float>(sample.uniform(static_cast<std::uint64_t>(i))));
        ASSERT_FLOAT_EQ(normal[place], static_cast<float>(sample.normal(static_cast<std::uint64_t>(i))));
      }
    }
  }
}

/// As a captured launch is replayed.
TEST(KeyedRandomKernelTest, ReplaysDrawAnewByTheStepInMemory) {
  std::int64_t step = 0;
  KeyedStream captured = kStream, plain = kStream;
  captured.step_in_memory = &step;
  for (step = 5; step <= 7; ++step) {
    plain.step = step;
    for (const auto distribution : {Distribution::uniform, Distribution::normal})
      EXPECT_EQ(drawn({2, 9}, 50, distribution, captured), drawn({2, 9}, 50, distribution, plain));
  }
}

TEST(KeyedRandomKernelTest, TakesAnEmptyBatch) { EXPECT_TRUE(drawn({}, 50, Distribution::normal).empty()); }

}  // namespace
}  // namespace bunchtrain::test
