// SPDX-License-Identifier: Apache-2.0
#include "input_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features::detail {
namespace {

/// Keeps the leading `length` particles of each row. Returns how many rows lost some.
std::int64_t truncate_rows(PackedRows& packed, std::int64_t length) {
  std::int64_t truncated = 0;
  std::size_t kept = 0;
  std::int32_t begin = 0;
  for (std::size_t row = 0; row < packed.rows(); ++row) {
    const std::int32_t end = packed.begin[row + 1];
    const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(end - begin, length));
    truncated += count < end - begin;
    std::copy_n(packed.slot.begin() + begin, count, packed.slot.begin() + static_cast<std::ptrdiff_t>(kept));
    kept += static_cast<std::size_t>(count);
    packed.begin[row + 1] = static_cast<std::int32_t>(kept);
    begin = end;
  }
  packed.slot.resize(kept);
  return truncated;
}

}  // namespace

Standardisation standardisation_of(const InputSpec& spec) {
  constexpr float kUnbounded = std::numeric_limits<float>::infinity();
  if (spec.automatic)
    return {.minimum = -kUnbounded, .maximum = kUnbounded};  // not fitted yet: raw values to fit to
  return {.subtract = static_cast<float>(spec.subtract),
          .multiply = static_cast<float>(spec.multiply),
          .minimum = spec.minimum ? static_cast<float>(*spec.minimum) : -kUnbounded,
          .maximum = spec.maximum ? static_cast<float>(*spec.maximum) : kUnbounded};
}

InputWriter::InputWriter(const Card& card, const CompiledCard& compiled, const RawColumns& raw,
                         Workspace& workspace)
    : card_(card),
      compiled_(compiled),
      raw_(raw),
      workspace_(workspace),
      packer_(compiled, raw),
      mask_check_(compiled, raw, card.nan.has_value()) {
  std::size_t columns = 0;
  for (const auto& [name, specs] : card.inputs) {
    auto& transforms = transforms_.emplace_back();
    for (const InputSpec& spec : specs) transforms.push_back(standardisation_of(spec));
    columns += specs.size();
  }
  counts_.replaced.assign(columns, 0);
}

void InputWriter::bind() {
  packer_.bind();
  mask_check_.bind();
  compiled_.jets.bind(raw_, jet_columns_);
  compiled_.inputs.bind(raw_, input_columns_);
}

void InputWriter::write(std::span<const std::int64_t> rows, const InputArrays& arrays) {
  bind();
  std::ranges::fill(counts_.replaced, 0);
  counts_.elements = counts_.truncated = counts_.without_particles = 0;
  const std::size_t step = rows_per_group(raw_);
  for (std::size_t begin = 0; begin < rows.size(); begin += step) {
    const auto group = rows.subspan(begin, std::min(step, rows.size() - begin));
    if (!run_programs(begin, group, arrays).empty()) refuse(rows, arrays);
    write_group(begin, group, arrays);
  }
}

void InputWriter::write_group(std::size_t first, std::span<const std::int64_t> group,
                              const InputArrays& arrays) {
  const std::size_t before = card_.ragged ? static_cast<std::size_t>(counts_.elements)
                                          : first * static_cast<std::size_t>(card_.length);
  if (!card_.ragged) write_mask(arrays.mask + before);
  std::size_t column = 0;
  for (std::size_t tensor = 0; tensor < transforms_.size(); ++tensor) {
    const std::size_t width = transforms_[tensor].size();
    transform_columns(tensor, column, group);
    float* out = arrays.inputs[tensor] + before * width;
    card_.ragged ? write_packed(tensor, out) : write_padded(tensor, out);
    column += width;
  }
  counts_.elements += static_cast<std::int64_t>(packed_.particles());
}

/// Orders the particles of each row by falling `key`, NaN last; equal ones stay as stored.
void InputWriter::sort_rows(const float* key) {
  const auto precedes = [key](std::int32_t a, std::int32_t b) {
    if (key[a] > key[b] || key[a] < key[b]) return key[a] > key[b];
    const bool a_is_nan = std::isnan(key[a]), b_is_nan = std::isnan(key[b]);
    return a_is_nan == b_is_nan ? a < b : b_is_nan;
  };
  for (std::size_t row = 0; row < packed_.rows(); ++row) {
    const std::int32_t begin = packed_.begin[row], count = packed_.begin[row + 1] - begin;
    order_.resize(static_cast<std::size_t>(count));
    std::iota(order_.begin(), order_.end(), begin);
    std::ranges::sort(order_, precedes);
    sorted_.clear();
    for (const std::int32_t index : order_) sorted_.push_back(packed_.slot[static_cast<std::size_t>(index)]);
    std::ranges::copy(sorted_, packed_.slot.begin() + begin);
  }
}

/// Leaves the inputs of the group in the workspace. What a program has loaded lies there too, packed and in
/// the cache: it is looked at right after each run. Returns what was found, and then stops early.
std::vector<OddValue> InputWriter::run_programs(std::size_t first, std::span<const std::int64_t> group,
                                                const InputArrays& arrays) {
  const OddRules rules{.nan_is_fine = card_.nan.has_value(), .largest = std::numeric_limits<float>::max()};
  std::vector<OddValue> odd;
  packer_.pack(group, workspace_, packed_);
  if (compiled_.has_mask) mask_check_.collect(group, packed_, workspace_, odd);
  if (!odd.empty()) return odd;
  compiled_.jets.run(jet_columns_, group, packed_, {}, workspace_);
  collect_odd(compiled_.jets, compiled_.jets_need, group, packed_, workspace_, rules, odd);
  if (!odd.empty()) return odd;
  take_jet_values(first, group.size(), arrays);
  for (std::size_t row = 0; row < packed_.rows(); ++row)
    counts_.without_particles += packed_.slots_of(row).empty();
  if (card_.sort_by_pt)
    sort_rows(compiled_.jets.particle_output(compiled_.num_given + compiled_.num_observers, workspace_));
  if (!card_.ragged) counts_.truncated += truncate_rows(packed_, card_.length);
  compiled_.inputs.run(input_columns_, group, packed_, given_pointers_, workspace_);
  collect_odd(compiled_.inputs, compiled_.inputs_need, group, packed_, workspace_, rules, odd);
  return odd;
}

/// Goes through the block again, row by row, for the first odd value and how many rows have one.
void InputWriter::refuse(std::span<const std::int64_t> rows, const InputArrays& arrays) {
  std::optional<OddValue> first;
  std::int64_t odd_rows = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto odd = run_programs(i, rows.subspan(i, 1), arrays);
    if (odd.empty()) continue;
    ++odd_rows;
    if (!first || odd.front().row < first->row) first = odd.front();
  }
  throw DataError(describe_odd_input(card_, raw_, first.value(), odd_rows, std::ssize(rows)));
}

/// Moves the results of the jet program out of the workspace, which the next program uses too.
void InputWriter::take_jet_values(std::size_t first, std::size_t count, const InputArrays& arrays) {
  given_.resize(compiled_.num_given * count);
  given_pointers_.resize(compiled_.num_given);
  for (std::size_t i = 0; i < compiled_.num_given; ++i) {
    given_pointers_[i] = given_.data() + i * count;
    std::copy_n(compiled_.jets.jet_output(i, workspace_), count, given_.data() + i * count);
  }
  for (std::size_t i = 0; i < arrays.observers.size(); ++i)
    std::copy_n(compiled_.jets.jet_output(compiled_.num_given + i, workspace_), count,
                arrays.observers[i] + first);
}

void InputWriter::write_mask(bool* mask) const {
  const auto length = static_cast<std::size_t>(card_.length);
  for (std::size_t row = 0; row < packed_.rows(); ++row, mask += length) {
    const std::size_t real = packed_.slots_of(row).size();
    std::fill_n(mask, real, true);
    std::fill_n(mask + real, length - real, false);
  }
}

void InputWriter::transform_columns(std::size_t tensor, std::size_t first_column,
                                    std::span<const std::int64_t> group) {
  const auto& transforms = transforms_[tensor];
  const std::size_t width = transforms.size();
  columns_.resize(std::max(columns_.size(), width));
  for (std::size_t i = 0; i < width; ++i) {
    columns_[i].resize((packed_.particles() / kVectorPadding + 2) * kVectorPadding);
    const float* values = compiled_.inputs.particle_output(first_column + i, workspace_);
    if (!standardise_vector(transforms[i], values, columns_[i].data(), packed_.particles())) {
      counts_.replaced[first_column + i] +=
          mend_column(columns_[i].data(), card_.inputs[tensor].second[i], group);
    }
  }
}

/// The elements of all rows of the group one after another.
void InputWriter::write_packed(std::size_t tensor, float* out) const {
  const std::size_t width = transforms_[tensor].size();
  for (std::size_t i = 0; i < width; ++i) {
    const float* source = columns_[i].data();
    for (std::size_t element = 0; element < packed_.particles(); ++element)
      out[element * width + i] = source[element];
  }
}

void InputWriter::write_padded(std::size_t tensor, float* out) const {
  const std::size_t width = transforms_[tensor].size(), length = static_cast<std::size_t>(card_.length);
  for (std::size_t row = 0; row < packed_.rows(); ++row, out += length * width) {
    const auto begin = static_cast<std::size_t>(packed_.begin[row]);
    const std::size_t real = packed_.slots_of(row).size();
    for (std::size_t i = 0; i < width; ++i) {
      const float* source = columns_[i].data() + begin;
      for (std::size_t particle = 0; particle < real; ++particle)
        out[particle * width + i] = source[particle];
    }
    std::fill(out + real * width, out + length * width, 0.0f);
  }
}

/// Puts the card's `nan` where a value is not finite: raw NaN, or what the expression made of it (the
/// logarithm of a negative number). Returns how often. @throws DataError without that policy.
std::int64_t InputWriter::mend_column(float* values, const InputSpec& spec,
                                      std::span<const std::int64_t> group) const {
  const CardWords& words = words_of(card_.kind);
  std::int64_t mended = 0;
  for (std::size_t row = 0; row < packed_.rows(); ++row) {
    for (std::int32_t i = packed_.begin[row]; i < packed_.begin[row + 1]; ++i) {
      if (std::isfinite(values[i])) continue;
      if (!card_.nan) {
        throw DataError(fmt::format(
            "{}, row {}, {} {}: \"{}\" is {}. Repair the file, or paste under [{}] "
            "of the card:\n  nan = 0.0",
            raw_.file, raw_.first_row + group[row], words.element, packed_.slot[static_cast<std::size_t>(i)],
            spec.expression, values[i], words.section));
      }
      values[i] = static_cast<float>(*card_.nan);
      ++mended;
    }
  }
  return mended;
}

}  // namespace bunchtrain::features::detail
