// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What keys random numbers besides the sample, as kernels take it. Needs no LibTorch.

#include <cstdint>

namespace bunchtrain::ops::detail {

/// Numbers of `CounterRandom(seed, mix64(site, step))`. Seed and site are those of a run, and may be captured
/// with a launch; the step is read from memory, if there is any.
struct KeyedStream {
  std::uint64_t seed = 0;
  std::uint64_t site = 0;  ///< what the numbers are for
  std::int64_t step = 0;
  const std::int64_t* step_in_memory = nullptr;  ///< of the device; counts instead of `step`
};

}  // namespace bunchtrain::ops::detail
