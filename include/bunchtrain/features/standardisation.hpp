// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a card learns from the training split: mean and width of its inputs, balanced class weights.

#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"

namespace bunchtrain::features {

/// Moments of every input column over the real particles of the blocks added, mergeable over threads and
/// ranks. Columns are those of all input tensors in card order. Not thread-safe.
class StandardisationFit {
 public:
  explicit StandardisationFit(const Card& card);

  void add(const FeatureBlock& block);
  /// Adds what another fit of the same card has seen. @throws ConfigError if the numbers of columns differ.
  void merge(const StandardisationFit& other);
  /// The state as numbers (for an all_gather), and back: `merge(packed)` equals merging
  /// the fit that was packed.
  std::vector<double> pack() const;
  void merge(std::span<const double> packed);

  std::vector<ColumnSummary> summaries() const;

 private:
  struct Moments {
    double count = 0, mean = 0, sum_of_squares = 0, minimum = 0, maximum = 0, nan_count = 0;
  };
  void merge_moments(Moments& into, const Moments& from) const;

  Card card_;
  std::vector<Moments> columns_;
};

/// Replaces every "auto" by mean and width of `summaries` (from a StandardisationFit of the same card): x ->
/// (x - mean) / width; a column of width 0 keeps multiply 1. @throws ConfigError if `summaries` belong to
/// another card or a column has no entries.
void freeze(Card& card, std::span<const ColumnSummary> summaries);
/// Whether some input still has to be fitted.
bool needs_fit(const Card& card) noexcept;

/// Replaces "balanced" by weights total / (classes * jets of the class), mean 1 over the training split. Does
/// nothing for a card that does not ask for it. @throws ConfigError naming a class without jets.
void freeze_class_weights(Card& card, std::span<const std::int64_t> jets_per_class);

/// Whether balanced class weights or the factor of weights still have to be fitted.
bool needs_weights(const Card& card) noexcept;

/// Makes `mean_magnitude` (of sample times class weight, in double precision, over the training split) the
/// unit of the weights. Does nothing for a card without weights or with a factor. @throws DataError if it is
/// 0 or so small that no factor brings it to 1.
void freeze_weight_factor(Card& card, double mean_magnitude);

}  // namespace bunchtrain::features
