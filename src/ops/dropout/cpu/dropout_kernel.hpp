// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Dropout of consecutive elements on the CPU, one thread: raw pointers, no LibTorch.

#include <cstdint>

#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// Elements that are drawn together: 16 counters of Philox give eight 16-bit numbers each.
inline constexpr std::int64_t kDropoutBlock = 128;
/// What probabilities are rounded to.
inline constexpr std::uint32_t kDropoutSteps = 65536;

/// y[i] = 0 where the number of element `first` + i under `key` is below `threshold`, else x[i] * scale. y
/// may be x.
/// @pre `first` is a multiple of kDropoutBlock
template <class S>
void drop(const S* x, S* y, std::int64_t first, std::int64_t count, std::uint64_t key,
          std::uint32_t threshold, Real<S> scale);

}  // namespace bunchtrain::ops::detail
