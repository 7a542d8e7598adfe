// SPDX-License-Identifier: Apache-2.0
// Loops for the compiler's vectoriser; Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "dropout/cpu/dropout_kernel.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>

#include "dropout_kernel.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kLanes = 16;
using Words = std::uint32_t[4][kLanes];

/// Philox4x32-10 (`philox4x32` of core/random.hpp) of kLanes consecutive counters,
/// laid out for the vectoriser.
BUNCHTRAIN_INLINE void philox_lanes(std::uint64_t counter, std::uint64_t key, Words& words) {
  constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const std::uint64_t position = counter + static_cast<std::uint64_t>(lane);
    words[0][lane] = static_cast<std::uint32_t>(position);
    words[1][lane] = static_cast<std::uint32_t>(position >> 32);
    words[2][lane] = words[3][lane] = 0;
  }
  auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round, key0 += kWeyl0, key1 += kWeyl1) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t product0 = std::uint64_t{kMultiplier0} * words[0][lane];
      const std::uint64_t product1 = std::uint64_t{kMultiplier1} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(product1 >> 32) ^ words[1][lane] ^ key0;
      words[2][lane] = static_cast<std::uint32_t>(product0 >> 32) ^ words[3][lane] ^ key1;
      words[1][lane] = static_cast<std::uint32_t>(product1);
      words[3][lane] = static_cast<std::uint32_t>(product0);
    }
  }
}

/// Zero or `scale` for the elements of a block: element 32 w + 16 h + l takes half h of word w of counter l.
template <class R>
BUNCHTRAIN_INLINE void block_factors(const Words& words, std::uint32_t threshold, R scale, R* factors) {
  for (int word = 0; word < 4; ++word) {
    for (int half = 0; half < 2; ++half, factors += kLanes) {
      for (std::int64_t lane = 0; lane < kLanes; ++lane) {
        const std::uint32_t number = words[word][lane] >> (16 * half) & 0xFFFFU;
        factors[lane] = number < threshold ? R(0) : scale;
      }
    }
  }
}

template <class S>
void drop_loop(const S* x, S* y, std::int64_t first, std::int64_t count, std::uint64_t key,
               std::uint32_t threshold, Real<S> scale) {
  Words words;
  Real<S> factors[kDropoutBlock];
  for (std::int64_t begin = 0; begin < count;
       begin += kDropoutBlock, x += kDropoutBlock, y += kDropoutBlock) {
    philox_lanes(static_cast<std::uint64_t>((first + begin) / kDropoutBlock * kLanes), key, words);
    block_factors(words, threshold, scale, factors);
    const std::int64_t size = std::min(kDropoutBlock, count - begin);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < size; ++i)
      store(y[i], factors[i] == 0 ? Real<S>(0) : load(x[i]) * factors[i]);
  }
}

}  // namespace

void drop_float(const float* x, float* y, std::int64_t first, std::int64_t count, std::uint64_t key,
                std::uint32_t threshold, float scale) {
  drop_loop(x, y, first, count, key, threshold, scale);
}
void drop_double(const double* x, double* y, std::int64_t first, std::int64_t count, std::uint64_t key,
                 std::uint32_t threshold, double scale) {
  drop_loop(x, y, first, count, key, threshold, scale);
}
void drop_bf16(const Bf16* x, Bf16* y, std::int64_t first, std::int64_t count, std::uint64_t key,
               std::uint32_t threshold, float scale) {
  drop_loop(x, y, first, count, key, threshold, scale);
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(drop_float);
HWY_EXPORT(drop_double);
HWY_EXPORT(drop_bf16);

template <>
void drop(const float* x, float* y, std::int64_t first, std::int64_t count, std::uint64_t key,
          std::uint32_t threshold, float scale) {
  HWY_DYNAMIC_DISPATCH(drop_float)(x, y, first, count, key, threshold, scale);
}
template <>
void drop(const double* x, double* y, std::int64_t first, std::int64_t count, std::uint64_t key,
          std::uint32_t threshold, double scale) {
  HWY_DYNAMIC_DISPATCH(drop_double)(x, y, first, count, key, threshold, scale);
}
template <>
void drop(const Bf16* x, Bf16* y, std::int64_t first, std::int64_t count, std::uint64_t key,
          std::uint32_t threshold, float scale) {
  HWY_DYNAMIC_DISPATCH(drop_bf16)(x, y, first, count, key, threshold, scale);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
