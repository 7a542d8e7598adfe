// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Evaluates a card: raw columns to the named tensors of a batch.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/device/named_tensors.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"

namespace bunchtrain::features {

/// What happened to the rows of one block.
struct FeatureCounts {
  std::int64_t rows = 0;                 ///< seen
  std::int64_t selected = 0;             ///< kept by selection and label
  std::int64_t truncated = 0;            ///< kept rows with more real particles than `length`
  std::vector<std::int64_t> per_class;   ///< kept rows per class
  std::int64_t unlabelled = 0;
};

/// One block of rows after evaluation. Tensors are [rows kept, ...]: the card's inputs ("points" [N, P, 2] float32,
/// "features" [N, P, F] float32), "mask" [N, P] bool, "label" [N] int64 (-1 unknown), "weight" [N] float32 (if the card has weights), and
/// the observers as "observer.<name>" [N] float64.
struct FeatureBlock {
  NamedTensors tensors;
  std::vector<std::int64_t> kept_rows;   ///< position within the raw block, ascending
  FeatureCounts counts;
};

/// Fitted standardisation of one input column, for the report printed before the first step.
struct ColumnSummary {
  std::string tensor;
  std::string expression;
  double mean = 0, width = 0, minimum = 0, maximum = 0;  ///< over real particles after the transform
  std::int64_t count = 0, nan_count = 0;
};

/// The compiled form of a card. Evaluation is const and thread-safe (each thread has its own evaluator state).
class FeaturePipeline {
 public:
  /// @throws ConfigError naming the expression and the unknown column.
  explicit FeaturePipeline(Card card);
  ~FeaturePipeline();
  FeaturePipeline(FeaturePipeline&&) noexcept;
  FeaturePipeline& operator=(FeaturePipeline&&) noexcept;

  const Card& card() const noexcept;
  /// Column names that must be read, with prefix ("jet.pt", "part.e").
  const std::vector<std::string>& required_columns() const noexcept;

  /// Evaluates only what decides which rows are kept (selection, label) and the split key: cheap first pass.
  /// `keys` gets the value of `split.by` per row if the card has one. @throws DataError for labels outside the classes
  /// (values with counts and the lines to paste).
  FeatureCounts select_rows(const RawColumns& raw, std::vector<std::int64_t>& kept, std::vector<std::int64_t>& labels,
                            std::vector<std::int64_t>& keys) const;
  /// Columns that `select_rows` needs.
  const std::vector<std::string>& selection_columns() const noexcept;

  /// Evaluates rows `rows` (positions within the raw block) of a block. @throws DataError naming file, row and column for
  /// NaN in real entries without a `nan` policy.
  FeatureBlock evaluate(const RawColumns& raw, std::span<const std::int64_t> rows) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::features
