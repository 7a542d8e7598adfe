// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Evaluates a card: raw columns to the named tensors of a batch.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/features/raw_ranges.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::features {

namespace detail {
struct DeviceColumns;
}

/// What happened to the rows of one block. Counts of several blocks add up.
struct FeatureCounts {
  std::int64_t rows = 0;                ///< seen
  std::int64_t selected = 0;            ///< kept by selection and label
  std::int64_t not_selected = 0;        ///< dropped by the selection
  std::int64_t other_labels = 0;        ///< dropped because their label is of no class
  std::int64_t not_finite = 0;          ///< dropped because of NaN or infinity, where the card says so
  std::int64_t truncated = 0;           ///< kept rows with more real particles than `length`
  std::int64_t without_particles = 0;   ///< kept rows without a real particle
  std::vector<std::int64_t> per_class;  ///< kept rows per class
  std::int64_t unlabelled = 0;          ///< kept rows without a label
};

/// Label values that belong to no class, with how often and where first they occur.
class UnknownLabels {
 public:
  /// @param where "FILE, row 67"; only looked at for a value that was not there before.
  template <class Where>
  void add(double value, const Where& where) {
    Entry* entry = find(value);
    if (entry != nullptr && entry->count++ == 0) entry->first = where();
  }
  /// Adds what was found in later rows.
  void merge(const UnknownLabels& later);
  bool empty() const noexcept { return total() == 0; }
  std::int64_t total() const noexcept;

  struct Entry {
    std::int64_t count = 0;
    std::string first = {};
  };
  const std::map<double, Entry>& values() const noexcept { return values_; }  ///< no NaN among them
  const Entry& nan() const noexcept { return nan_; }
  /// Jets with values that are not listed: a column with many is hardly one of labels.
  std::int64_t others() const noexcept { return others_; }

 private:
  Entry* find(double value);

  std::map<double, Entry> values_;
  Entry nan_;
  std::int64_t others_ = 0;
};

/// What is known of the elements (hits) of rows before they are read: all vectors are parallel to `kept`.
struct ElementCounts {
  std::vector<std::int64_t> real = {};       ///< elements that pass the mask
  std::vector<std::int64_t> per_class = {};  ///< [kept, classes], where elements have labels
  std::vector<double> weights =
      {};  ///< [kept, classes or 1]: sums of their weights by class, where they have some
  /// Sum, and squares of the distances from the mean.
  struct Moments {
    double sum = 0, squares = 0;
  };
  std::vector<std::vector<Moments>> targets =
      {};  ///< of each target asked for; empty unless elements have it
};

/// Which rows of a block are kept, and what decides about them. Vectors are parallel to `kept`.
struct RowSelection {
  std::vector<std::int64_t> kept;            ///< positions within the raw block, ascending
  std::vector<std::int64_t> labels;          ///< class numbers; -1 in a file without labels
  std::vector<std::int64_t> keys;            ///< values of `split.by`; empty if card or file has none
  std::vector<double> weights;               ///< values of `weights.sample`; empty if card or file has none
  std::vector<std::vector<double>> targets;  ///< of each target asked for; empty if the file has none
  ElementCounts elements;                    ///< of ragged cards
  FeatureCounts counts;
  UnknownLabels unknown;  ///< of rows that are neither kept nor dropped: `require_known` refuses them
};

/// One block of N rows after evaluation: the card's inputs ("points" [N, P, 2] float32, "features" [N, P, F]
/// float32; 0 at padding), "mask" [N, P] bool (real particles come first), "label" [N] int64 (-1 unknown;
/// absent if the card has none), "weight" [N] float32 (if the card has weights), the targets asked for by
/// their names [N] float32 (NaN in a file without them), and the observers as "observer.<name>" [N] float64.
///
/// Of a ragged card inputs are [E, F], the elements of all rows one after another, and there is no mask; what a card
/// of hits says of hits is [E]: label, weight, targets.
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
  /// Set if all entries are equal: that value, before the transform (a bound of it, if it was clipped).
  std::optional<double> constant = std::nullopt;
};

/// The compiled form of a card. Evaluation is const and thread-safe (each thread has
/// its own evaluator state).
class FeaturePipeline {
 public:
  /// @param targets which of the card's targets are computed; the columns of others are not read.
  /// @throws ConfigError naming the expression and the unknown column, or a target that the card lacks.
  explicit FeaturePipeline(Card card, std::vector<std::string> targets = {});
  ~FeaturePipeline();
  FeaturePipeline(FeaturePipeline&&) noexcept;
  FeaturePipeline& operator=(FeaturePipeline&&) noexcept;

  const Card& card() const noexcept;
  const std::vector<std::string>& targets() const noexcept;
  /// Names of the tensors with a row per element; empty unless the card is ragged.
  std::vector<std::string> ragged_tensors() const;
  /// Whether a label, the weight, a target asked for is one of elements (hits), not of rows.
  bool labels_elements() const noexcept;
  bool weighs_elements() const noexcept;
  bool is_of_elements(std::string_view target) const;
  /// Column names that must be read, with prefix ("jet.pt", "part.e").
  const std::vector<std::string>& required_columns() const noexcept;
  /// Those among them that only label, targets, weights and the split key need: a file without them is
  /// evaluated as unlabelled.
  const std::vector<std::string>& optional_columns() const noexcept;

  /// Evaluates only what decides which rows are kept (selection, label), their split key, weight and targets:
  /// cheap first pass. `selection` is overwritten. @throws DataError naming file, row and column for NaN or
  /// infinity in the columns of selection, split key, weight and targets, unless the card drops such jets.
  void select_rows(const RawColumns& raw, RowSelection& selection) const;
  /// @throws DataError for labels outside the classes: the values with counts, places and the lines to paste.
  void require_known(const UnknownLabels& labels) const;
  /// Columns that `select_rows` needs.
  const std::vector<std::string>& selection_columns() const noexcept;

  /// Evaluates the rows `rows` (positions within the raw block) and drops none: selection is `select_rows`'
  /// work. A label outside the classes becomes -1. @throws DataError naming file, row, particle and column
  /// for infinity in raw columns that inputs or the mask use, and for NaN unless the card has a `nan` policy;
  /// only real entries count, and columns that only observers use may hold anything. ConfigError for a column
  /// that `raw` lacks.
  FeatureBlock evaluate(const RawColumns& raw, std::span<const std::int64_t> rows) const;
  /// Why `evaluate_on_device` cannot serve this card; empty if it can.
  std::string why_not_on_device() const;
  /// Names of the tensors that it makes on the device: the inputs, and the mask of a card that is not ragged.
  std::vector<std::string> device_tensors() const;
  /// The same as `evaluate` where all columns of particles lie on a GPU: inputs within 2 ulp of the exact result of each operation,
  /// all else with the bits of `evaluate`. Works on the current stream and waits for it.
  /// @param raw the rows with the columns of jets that the host has; it takes those that lie on the device, too.
  /// @return nothing if a value is not finite: `evaluate` says which, or replaces it. @throws NotBuiltError without CUDA
  /// @pre `why_not_on_device` is empty
  std::optional<FeatureBlock> evaluate_on_device(const detail::DeviceColumns& columns, RawColumns& raw,
                                                 std::span<const std::int64_t> rows) const;
  /// Widens `ranges` by the raw values that the inputs of rows are computed from, once `evaluate` took them.
  void add_to_ranges(const RawColumns& raw, std::span<const std::int64_t> rows, RawRanges& ranges) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::features
