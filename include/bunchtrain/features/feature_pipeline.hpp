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

/// What happened to the rows of one block. Counts of several blocks add up.
struct FeatureCounts {
  std::int64_t rows = 0;                ///< seen
  std::int64_t selected = 0;            ///< kept by selection and label
  std::int64_t truncated = 0;           ///< kept rows with more real particles than `length`
  std::vector<std::int64_t> per_class;  ///< kept rows per class
  std::int64_t unlabelled = 0;          ///< kept rows without a label
};

/// One block of N rows after evaluation: the card's inputs ("points" [N, P, 2] float32, "features" [N, P, F]
/// float32; 0 at padding), "mask" [N, P] bool (real particles come first), "label" [N] int64 (-1 unknown;
/// absent if the card has none), "weight" [N] float32 (if the card has weights), and the observers as
/// "observer.<name>" [N] float64.
struct FeatureBlock {
  NamedTensors tensors;
  std::vector<std::int64_t> kept_rows;  ///< the rows asked for: positions within the raw block
  FeatureCounts counts;
  std::vector<std::int64_t> replaced;  ///< per input column, in card order: real entries that were not finite
                                       ///< and took the card's `nan`
};

/// Fitted standardisation of one input column, for the report printed before the first step.
struct ColumnSummary {
  std::string tensor;
  std::string expression;
  double mean = 0, width = 0, minimum = 0, maximum = 0;  ///< over real particles after the transform
  std::int64_t count = 0, nan_count = 0;
};

/// The compiled form of a card. Evaluation is const and thread-safe (each thread has its own evaluator
/// state).
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
  /// Those among them that only label, weights and the split key need: a file without them is evaluated as
  /// unlabelled.
  const std::vector<std::string>& optional_columns() const noexcept;

  /// Evaluates only what decides which rows are kept (selection, label) and the split key: cheap first pass.
  /// `kept` gets positions within the raw block, ascending; parallel to it `labels` (class numbers; -1 in a
  /// file without labels) and `keys` (the value of `split.by`; empty if the card has none). All three are
  /// overwritten. @throws DataError for labels outside the classes (values with counts and the lines to
  /// paste).
  FeatureCounts select_rows(const RawColumns& raw, std::vector<std::int64_t>& kept,
                            std::vector<std::int64_t>& labels, std::vector<std::int64_t>& keys) const;
  /// Columns that `select_rows` needs.
  const std::vector<std::string>& selection_columns() const noexcept;

  /// Evaluates the rows `rows` (positions within the raw block) and drops none: selection is `select_rows`'
  /// work. A label outside the classes becomes -1. @throws DataError naming file, row and column for values
  /// that are not finite in real entries without a `nan` policy, ConfigError for a column that `raw` lacks.
  FeatureBlock evaluate(const RawColumns& raw, std::span<const std::int64_t> rows) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::features
