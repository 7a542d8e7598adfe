// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How many inputs of a network lay outside the ranges of its training. Knows no LibTorch.

#include <cstdint>

namespace bunchtrain::infer {
inline namespace v0_1 {

/// What a scratch is to do beside scoring.
struct ScratchOptions {
  /// Count, for each input, the values outside its `InputColumn::range`: `counts()` of the scratch.
  bool count_outside = false;
  /// Of the fast engine: how large a scratch may become, with raw columns and features of the jets that are scored together,
  /// but for what expressions of the card keep of some 2000 particles. Fewer jets go together then, with the same scores. 0:
  /// what 32 jets take.
  std::int64_t most_bytes = 0;
};

/// Values of an input that a scratch saw: one per jet, or one per real particle. NaN is among them and neither below nor
/// above.
struct InputCounts {
  std::int64_t values = 0;  ///< all of them
  std::int64_t below = 0;   ///< less than the least of the training
  std::int64_t above = 0;   ///< more than the greatest

  bool operator==(const InputCounts&) const = default;
};

}  // namespace v0_1
}  // namespace bunchtrain::infer
