// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The scores of a data set as rows, and what is computed from them.

#include <cstdint>
#include <span>

#include "bunchtrain/metrics/classification.hpp"

namespace bunchtrain::metrics {

/// View of rows [N, C + 3] double: C scores, cross-entropy, label, weight.
class ScoreTable {
 public:
  static constexpr std::int64_t kExtraColumns = 3;

  ScoreTable(std::span<const double> values, int classes) : values_(values), classes_(classes) {}

  int classes() const noexcept { return classes_; }
  std::int64_t size() const noexcept { return static_cast<std::int64_t>(values_.size()) / columns(); }
  std::span<const double> row(std::int64_t row) const {
    return values_.subspan(static_cast<std::size_t>(row * columns()), static_cast<std::size_t>(columns()));
  }
  double score(std::int64_t row, int c) const { return at(row, c); }
  double loss(std::int64_t row) const { return at(row, classes_); }
  int label(std::int64_t row) const { return static_cast<int>(at(row, classes_ + 1)); }
  double weight(std::int64_t row) const { return at(row, classes_ + 2); }

 private:
  std::int64_t columns() const noexcept { return classes_ + kExtraColumns; }
  double at(std::int64_t row, std::int64_t column) const {
    return values_[static_cast<std::size_t>(row * columns() + column)];
  }

  std::span<const double> values_;
  int classes_;
};

ClassificationResult evaluate(const ScoreTable& table, const ClassificationOptions& options);

}  // namespace bunchtrain::metrics
