// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/standardisation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features {
namespace {

constexpr std::size_t kNumbersPerColumn = 6;

/// The raw value behind entries that are all equal.
std::optional<double> constant_of(const InputSpec& spec, double count, double minimum, double maximum) {
  if (count < 2 || minimum != maximum) return std::nullopt;
  return spec.automatic || spec.multiply == 0 ? minimum : minimum / spec.multiply + spec.subtract;
}

std::size_t num_columns(const Card& card) {
  std::size_t columns = 0;
  for (const auto& [tensor, specs] : card.inputs) columns += specs.size();
  return columns;
}

}  // namespace

StandardisationFit::StandardisationFit(const Card& card) : card_(card), columns_(num_columns(card)) {}

void StandardisationFit::merge_moments(Moments& into, const Moments& from) const {
  into.nan_count += from.nan_count;
  if (from.count == 0) return;
  if (into.count == 0) {
    const double nan_count = into.nan_count;
    into = from;
    into.nan_count = nan_count;
    return;
  }
  // Chan, Golub, LeVeque: stable where the mean is far from zero.
  const double total = into.count + from.count, distance = from.mean - into.mean;
  into.mean += distance * from.count / total;
  into.sum_of_squares += from.sum_of_squares + distance * distance * into.count * from.count / total;
  into.count = total;
  into.minimum = std::min(into.minimum, from.minimum);
  into.maximum = std::max(into.maximum, from.maximum);
}

void StandardisationFit::add(const FeatureBlock& block) {
  const at::Tensor* mask =
      block.tensors.find("mask");  // of padded rows; elements of ragged ones are all real
  const bool* is_real = mask ? mask->const_data_ptr<bool>() : nullptr;
  std::size_t column = 0;
  for (const auto& [tensor, specs] : card_.inputs) {
    const float* values = block.tensors[tensor].const_data_ptr<float>();
    const auto width = static_cast<std::int64_t>(specs.size());
    const std::int64_t slots = block.tensors[tensor].numel() / width;
    for (std::int64_t i = 0; i < width; ++i, ++column) {
      Moments seen;
      double sum = 0, sum_of_squares = 0;
      // Near the values: the squares stay small.
      const auto offset = static_cast<double>(slots > 0 ? values[i] : 0);
      for (std::int64_t slot = 0; slot < slots; ++slot) {
        if (is_real && !is_real[slot]) continue;
        const auto value = static_cast<double>(values[slot * width + i]);
        seen.minimum = seen.count == 0 ? value : std::min(seen.minimum, value);
        seen.maximum = seen.count == 0 ? value : std::max(seen.maximum, value);
        seen.count += 1;
        sum += value - offset;
        sum_of_squares += (value - offset) * (value - offset);
      }
      if (seen.count > 0) {
        seen.mean = offset + sum / seen.count;
        seen.sum_of_squares = std::max(0.0, sum_of_squares - sum * sum / seen.count);
      }
      seen.nan_count = static_cast<double>(block.replaced[column]);
      merge_moments(columns_[column], seen);
    }
  }
}

void StandardisationFit::merge(const StandardisationFit& other) { merge(other.pack()); }

std::vector<double> StandardisationFit::pack() const {
  std::vector<double> packed;
  for (const Moments& column : columns_) {
    packed.insert(packed.end(), {column.count, column.mean, column.sum_of_squares, column.minimum,
                                 column.maximum, column.nan_count});
  }
  return packed;
}

void StandardisationFit::merge(std::span<const double> packed) {
  if (packed.size() != columns_.size() * kNumbersPerColumn) {
    throw ConfigError(
        fmt::format("a fit of {} columns cannot take {} numbers", columns_.size(), packed.size()));
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const double* from = packed.data() + i * kNumbersPerColumn;
    merge_moments(columns_[i], {from[0], from[1], from[2], from[3], from[4], from[5]});
  }
}

std::vector<ColumnSummary> StandardisationFit::summaries() const {
  std::vector<ColumnSummary> summaries;
  std::size_t column = 0;
  for (const auto& [tensor, specs] : card_.inputs) {
    for (const InputSpec& spec : specs) {
      const Moments& seen = columns_[column++];
      summaries.push_back({.tensor = tensor,
                           .expression = spec.expression,
                           .mean = seen.mean,
                           .width = seen.count > 0 ? std::sqrt(seen.sum_of_squares / seen.count) : 0,
                           .minimum = seen.minimum,
                           .maximum = seen.maximum,
                           .count = static_cast<std::int64_t>(seen.count),
                           .nan_count = static_cast<std::int64_t>(seen.nan_count),
                           .constant = constant_of(spec, seen.count, seen.minimum, seen.maximum)});
    }
  }
  return summaries;
}

bool needs_fit(const Card& card) noexcept {
  return std::ranges::any_of(card.inputs, [](const auto& input) {
    return std::ranges::any_of(input.second, [](const InputSpec& spec) { return spec.automatic; });
  });
}

void freeze(Card& card, std::span<const ColumnSummary> summaries) {
  if (summaries.size() != num_columns(card)) {
    throw ConfigError(fmt::format("{} column summaries for a card with {} input columns", summaries.size(),
                                  num_columns(card)));
  }
  auto summary = summaries.begin();
  for (auto& [tensor, specs] : card.inputs) {
    for (InputSpec& spec : specs) {
      const ColumnSummary& seen = *summary++;
      if (seen.expression != spec.expression) {
        throw ConfigError(
            fmt::format("summary of \"{}\" for the input \"{}\"", seen.expression, spec.expression));
      }
      if (!spec.automatic) continue;
      if (seen.count == 0) {
        throw ConfigError(fmt::format(
            "\"{}\" is standardised automatically, but the training split has no particle", spec.expression));
      }
      spec.automatic = false;
      spec.subtract = seen.mean;
      spec.multiply = seen.width > 0 ? 1 / seen.width : 1;
    }
  }
}

void freeze_class_weights(Card& card, std::span<const std::int64_t> jets_per_class) {
  if (!card.balanced_classes) return;
  if (jets_per_class.size() != card.classes.size()) {
    throw ConfigError(
        fmt::format("{} class counts for {} classes", jets_per_class.size(), card.classes.size()));
  }
  const auto total =
      static_cast<double>(std::accumulate(jets_per_class.begin(), jets_per_class.end(), std::int64_t{0}));
  card.class_weights.clear();
  for (std::size_t i = 0; i < jets_per_class.size(); ++i) {
    if (jets_per_class[i] <= 0) {
      throw ConfigError(
          "weights.class", "balanced",
          fmt::format("jets of every class in the training split; \"{}\" has none", card.classes[i].name));
    }
    card.class_weights.push_back(
        total / (static_cast<double>(card.classes.size()) * static_cast<double>(jets_per_class[i])));
  }
  card.balanced_classes = false;
}

bool needs_weights(const Card& card) noexcept {
  return card.balanced_classes || (card.has_weights() && !card.weight_factor);
}

void freeze_weight_factor(Card& card, double mean_magnitude) {
  if (!card.has_weights() || card.weight_factor) return;
  const double factor = 1 / mean_magnitude;
  if (!std::isfinite(factor) || factor == 0)
    throw DataError(fmt::format(
        "the weights{} have the mean magnitude {} over the training split: nothing would be "
        "learned; change [weights] of the card",
        card.sample_weight.empty() ? "" : fmt::format(" \"{}\"", card.sample_weight), mean_magnitude));
  constexpr double kRounding = 1e-9;  // of a mean of 1, as balanced classes have it
  card.weight_factor = std::abs(factor - 1) < kRounding ? 1 : factor;
}

}  // namespace bunchtrain::features
