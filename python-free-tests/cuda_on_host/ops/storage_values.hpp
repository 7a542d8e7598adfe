// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers as kernels store them, and back.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "runtime/guarded_buffer.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::test {

template <class S>
S stored(double value) {
  if constexpr (std::is_same_v<S, Fp16>) {
    return {std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))};
  } else {
    S result;
    ops::detail::store(result, static_cast<ops::detail::Real<S>>(value));
    return result;
  }
}

template <class S>
double value_of(S stored) {
  if constexpr (std::is_same_v<S, Fp16>) {
    return static_cast<double>(std::bit_cast<_Float16>(stored.bits));
  } else {
    return ops::detail::load(stored);
  }
}

/// Largest relative error of rounding to S.
template <class S>
constexpr double kRounding = std::is_same_v<S, Bf16>   ? 0x1p-8
                             : std::is_same_v<S, Fp16> ? 0x1p-11
                                                       : 0x1p-24;

/// Guarded memory of which the first elements may be left out, so that the address is not aligned.
template <class S>
class Values {
 public:
  Values(std::int64_t count, bool aligned)
      : skipped_(aligned ? 0 : 1), buffer_(static_cast<std::size_t>(count) + skipped_) {}
  S* data() { return buffer_.data() + skipped_; }
  S& operator[](std::int64_t i) { return data()[i]; }
  std::int64_t size() const { return static_cast<std::int64_t>(buffer_.size() - skipped_); }
  double at(std::int64_t i) { return value_of(data()[i]); }

 private:
  std::size_t skipped_;
  host_cuda::GuardedBuffer<S> buffer_;
};

/// Uniform in [-1, 3).
template <class S>
Values<S> random_values(std::int64_t count, std::uint64_t stream, bool aligned) {
  Values<S> values(count, aligned);
  const CounterRandom random(21, stream);
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = stored<S>(4 * random.uniform(static_cast<std::uint64_t>(i)) - 1);
  return values;
}

}  // namespace bunchtrain::test
