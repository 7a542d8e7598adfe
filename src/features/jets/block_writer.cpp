// SPDX-License-Identifier: Apache-2.0
#include "block_writer.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features::detail {
namespace {

Standardisation standardisation_of(const InputSpec& spec) {
  constexpr float kUnbounded = std::numeric_limits<float>::infinity();
  if (spec.automatic)
    return {.minimum = -kUnbounded, .maximum = kUnbounded};  // not fitted yet: raw values to fit to
  return {.subtract = static_cast<float>(spec.subtract),
          .multiply = static_cast<float>(spec.multiply),
          .minimum = spec.minimum ? static_cast<float>(*spec.minimum) : -kUnbounded,
          .maximum = spec.maximum ? static_cast<float>(*spec.maximum) : kUnbounded};
}

/// Orders the particles of each row by falling `key`; equal ones stay as stored.
void sort_rows(PackedRows& packed, const float* key) {
  std::vector<std::int32_t> order, sorted;
  for (std::size_t row = 0; row < packed.rows(); ++row) {
    const std::int32_t begin = packed.begin[row], count = packed.begin[row + 1] - begin;
    order.resize(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), begin);
    std::ranges::stable_sort(order, [key](std::int32_t a, std::int32_t b) { return key[a] > key[b]; });
    sorted.clear();
    for (const std::int32_t index : order) sorted.push_back(packed.slot[static_cast<std::size_t>(index)]);
    std::ranges::copy(sorted, packed.slot.begin() + begin);
  }
}

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

Workspace& thread_workspace() {
  thread_local Workspace workspace;
  return workspace;
}

BlockWriter::BlockWriter(const Card& card, const CompiledCard& compiled, const RawColumns& raw,
                         std::span<const std::int64_t> rows)
    : card_(card),
      compiled_(compiled),
      raw_(raw),
      rows_(rows),
      workspace_(thread_workspace()),
      packer_(compiled, raw),
      mask_check_(compiled, raw, card.nan.has_value()),
      jet_columns_(compiled.jets.bind(raw)),
      input_columns_(compiled.inputs.bind(raw)) {
  const auto count = static_cast<std::int64_t>(rows.size());
  std::int64_t most_elements = 0;  // as many as are real without a mask
  for (const std::int64_t row : rows) most_elements += raw.slots_of(row);
  std::size_t columns = 0;
  for (const auto& [name, specs] : card.inputs) {
    const auto width = static_cast<std::int64_t>(specs.size());
    inputs_.push_back(card.ragged ? at::empty({most_elements, width}, at::kFloat)
                                  : at::empty({count, card.length, width}, at::kFloat));
    auto& transforms = transforms_.emplace_back();
    for (const InputSpec& spec : specs) transforms.push_back(standardisation_of(spec));
    columns += specs.size();
  }
  for (std::size_t i = 0; i < card.observers.size(); ++i)
    observers_.push_back(at::empty({count}, at::kDouble));
  if (!card.ragged) mask_ = at::empty({count, card.length}, at::kBool);
  replaced_.assign(columns, 0);
}

void BlockWriter::write(FeatureBlock& block) {
  const std::size_t step = rows_per_group(raw_);
  for (std::size_t begin = 0; begin < rows_.size(); begin += step) {
    write_group(begin, rows_.subspan(begin, std::min(step, rows_.size() - begin)));
  }
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const bool whole = !card_.ragged || elements_ == inputs_[i].size(0);
    block.tensors.set(card_.inputs[i].first, whole ? inputs_[i] : inputs_[i].narrow(0, 0, elements_).clone());
  }
  if (!card_.ragged) block.tensors.set("mask", mask_);
  for (std::size_t i = 0; i < observers_.size(); ++i)
    block.tensors.set("observer." + card_.observers[i], observers_[i]);
  block.counts.truncated = truncated_;
  block.counts.without_particles = without_particles_;
  block.replaced = std::move(replaced_);
}

void BlockWriter::write_group(std::size_t first, std::span<const std::int64_t> group) {
  if (!run_programs(first, group).empty()) refuse();
  if (!card_.ragged) write_mask(first);
  std::size_t column = 0;
  for (std::size_t tensor = 0; tensor < inputs_.size(); ++tensor) {
    transform_columns(tensor, column, group);
    card_.ragged ? write_packed(tensor) : write_padded(tensor, first);
    column += transforms_[tensor].size();
  }
  elements_ += static_cast<std::int64_t>(packed_.particles());
}

/// Leaves the inputs of the group in the workspace. What a program has loaded lies there too, packed and in
/// the cache: it is looked at right after each run. Returns what was found, and then stops early.
std::vector<OddValue> BlockWriter::run_programs(std::size_t first, std::span<const std::int64_t> group) {
  const OddRules rules{.nan_is_fine = card_.nan.has_value(), .largest = std::numeric_limits<float>::max()};
  std::vector<OddValue> odd;
  packer_.pack(group, workspace_, packed_);
  if (compiled_.has_mask) mask_check_.collect(group, packed_, workspace_, odd);
  if (!odd.empty()) return odd;
  compiled_.jets.run(jet_columns_, group, packed_, {}, workspace_);
  collect_odd(compiled_.jets, compiled_.jets_need, group, packed_, workspace_, rules, odd);
  if (!odd.empty()) return odd;
  take_jet_values(first, group.size());
  for (std::size_t row = 0; row < packed_.rows(); ++row) without_particles_ += packed_.slots_of(row).empty();
  if (card_.sort_by_pt) {
    sort_rows(packed_, compiled_.jets.particle_output(compiled_.num_given + observers_.size(), workspace_));
  }
  if (!card_.ragged) truncated_ += truncate_rows(packed_, card_.length);
  compiled_.inputs.run(input_columns_, group, packed_, given_pointers_, workspace_);
  collect_odd(compiled_.inputs, compiled_.inputs_need, group, packed_, workspace_, rules, odd);
  return odd;
}

/// Goes through the block again, row by row, for the first odd value and how many rows have one.
void BlockWriter::refuse() {
  std::optional<OddValue> first;
  std::int64_t odd_rows = 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const auto odd = run_programs(i, rows_.subspan(i, 1));
    if (odd.empty()) continue;
    ++odd_rows;
    if (!first || odd.front().row < first->row) first = odd.front();
  }
  throw DataError(describe_odd_input(card_, raw_, first.value(), odd_rows, std::ssize(rows_)));
}

/// Moves the results of the jet program out of the workspace, which the next program uses too.
void BlockWriter::take_jet_values(std::size_t first, std::size_t count) {
  given_.resize(compiled_.num_given * count);
  given_pointers_.resize(compiled_.num_given);
  for (std::size_t i = 0; i < compiled_.num_given; ++i) {
    given_pointers_[i] = given_.data() + i * count;
    std::copy_n(compiled_.jets.jet_output(i, workspace_), count, given_.data() + i * count);
  }
  for (std::size_t i = 0; i < observers_.size(); ++i) {
    std::copy_n(compiled_.jets.jet_output(compiled_.num_given + i, workspace_), count,
                observers_[i].mutable_data_ptr<double>() + first);
  }
}

void BlockWriter::write_mask(std::size_t first) {
  const auto length = static_cast<std::size_t>(card_.length);
  bool* mask = mask_.mutable_data_ptr<bool>() + first * length;
  for (std::size_t row = 0; row < packed_.rows(); ++row, mask += length) {
    const std::size_t real = packed_.slots_of(row).size();
    std::fill_n(mask, real, true);
    std::fill_n(mask + real, length - real, false);
  }
}

void BlockWriter::transform_columns(std::size_t tensor, std::size_t first_column,
                                    std::span<const std::int64_t> group) {
  const auto& transforms = transforms_[tensor];
  const std::size_t width = transforms.size();
  columns_.resize(std::max(columns_.size(), width));
  for (std::size_t i = 0; i < width; ++i) {
    columns_[i].resize((packed_.particles() / kVectorPadding + 2) * kVectorPadding);
    const float* values = compiled_.inputs.particle_output(first_column + i, workspace_);
    if (!standardise_vector(transforms[i], values, columns_[i].data(), packed_.particles())) {
      replaced_[first_column + i] += mend_column(columns_[i].data(), card_.inputs[tensor].second[i], group);
    }
  }
}

/// The elements of all rows of the group one after another.
void BlockWriter::write_packed(std::size_t tensor) {
  const std::size_t width = transforms_[tensor].size();
  float* out = inputs_[tensor].mutable_data_ptr<float>() + static_cast<std::size_t>(elements_) * width;
  for (std::size_t i = 0; i < width; ++i) {
    const float* source = columns_[i].data();
    for (std::size_t element = 0; element < packed_.particles(); ++element)
      out[element * width + i] = source[element];
  }
}

void BlockWriter::write_padded(std::size_t tensor, std::size_t first) {
  const std::size_t width = transforms_[tensor].size(), length = static_cast<std::size_t>(card_.length);
  float* out = inputs_[tensor].mutable_data_ptr<float>() + first * length * width;
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
std::int64_t BlockWriter::mend_column(float* values, const InputSpec& spec,
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
