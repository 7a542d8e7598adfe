// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Counts raw values outside the ranges of the training.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/infer/input_counts.hpp"
#include "bunchtrain/infer/raw_jets.hpp"

namespace bunchtrain::infer::detail {

/// Of one scratch, one thread at a time. Allocates nothing once it saw a block of the same shape.
class InputCounter {
 public:
  /// @param raw whose columns may change from `count` to `count`. @param origin the bundle
  /// @throws ConfigError naming an input without a range.
  InputCounter(const features::Card& card, const std::vector<InputColumn>& inputs,
               const features::RawColumns& raw, const std::string& origin);
  ~InputCounter();
  InputCounter(const InputCounter&) = delete;
  InputCounter& operator=(const InputCounter&) = delete;

  /// Adds rows of the block.
  void count(std::span<const std::int64_t> rows);
  /// In the order of the inputs.
  std::span<const InputCounts> counts() const noexcept;
  void reset() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::infer::detail
