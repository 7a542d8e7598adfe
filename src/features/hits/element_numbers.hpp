// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Labels, weights and targets of the elements (hits) of ragged rows.

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "jets/compiled_card.hpp"
#include "jets/label_map.hpp"

namespace bunchtrain::features::detail {

/// Whether the weight of a card is a number of each element: its own, or that of its class.
bool weighs_elements(const Card& card, const CompiledCard& compiled) noexcept;

/// Keeps references: short-lived, one thread.
class ElementNumbers {
 public:
  /// @param targets those asked for, in the order of the compiled card
  ElementNumbers(const Card& card, const CompiledCard& compiled, const LabelMap& labels,
                 std::span<const std::string> targets, const RawColumns& raw);

  /// The first pass over `selection.kept`: sizes, classes, sums of weights, moments of targets; labels outside the
  /// classes go to `selection.unknown`. @throws DataError naming row and element for weights that are negative or not
  /// finite, and for such targets.
  void count(RowSelection& selection) const;
  /// "label", "weight" and targets [E] of the rows of a block.
  void set_tensors(FeatureBlock& block, std::span<const std::int64_t> rows) const;

 private:
  /// Gets values of the packed elements of a few rows, the first of them the `first`-th.
  using Visit = std::function<void(std::size_t first, std::span<const std::int64_t> group,
                                   const PackedRows& packed, const float* values)>;

  /// @param program null: elements are counted, no value is computed
  void visit(const Program* program, std::span<const std::int64_t> rows, const Visit& visit) const;
  void count_labels(RowSelection& selection) const;
  void sum_weights(RowSelection& selection) const;
  void measure_target(std::size_t number, RowSelection& selection) const;
  std::vector<std::int64_t> labels_of(std::span<const std::int64_t> rows) const;
  at::Tensor weights(std::span<const std::int64_t> rows, const std::vector<std::int64_t>& labels) const;
  [[noreturn]] void refuse(std::int64_t row, std::int32_t element, const std::string& what, double value,
                           std::string_view allowed) const;

  bool has_label() const { return compiled_.label_of_elements && compiled_.label.available(raw_); }
  bool has_weight() const { return compiled_.weight_of_elements && compiled_.weight.available(raw_); }

  const Card& card_;
  const CompiledCard& compiled_;
  const LabelMap& label_map_;
  std::span<const std::string> targets_;
  const RawColumns& raw_;
};

}  // namespace bunchtrain::features::detail
