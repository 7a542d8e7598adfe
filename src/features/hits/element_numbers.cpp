// SPDX-License-Identifier: Apache-2.0
#include "hits/element_numbers.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "jets/block_writer.hpp"

namespace bunchtrain::features::detail {
namespace {

std::size_t at_least_one(std::size_t classes) { return std::max<std::size_t>(classes, 1); }

}  // namespace

bool weighs_elements(const Card& card, const CompiledCard& compiled) noexcept {
  if (!card.has_weights()) return false;
  return compiled.has_weight ? compiled.weight_of_elements : compiled.label_of_elements;
}

ElementNumbers::ElementNumbers(const Card& card, const CompiledCard& compiled, const LabelMap& labels,
                               std::span<const std::string> targets, const RawColumns& raw)
    : card_(card), compiled_(compiled), label_map_(labels), targets_(targets), raw_(raw) {}

void ElementNumbers::visit(const Program* program, std::span<const std::int64_t> rows,
                           const Visit& visit) const {
  Workspace& workspace = thread_workspace();
  ParticlePacker packer(compiled_, raw_);
  packer.bind();
  const BoundColumns columns = program ? program->bind(raw_) : BoundColumns{};
  PackedRows packed;
  const std::size_t step = rows_per_group(raw_);
  for (std::size_t begin = 0; begin < rows.size(); begin += step) {
    const auto group = rows.subspan(begin, std::min(step, rows.size() - begin));
    packer.pack(group, workspace, packed);
    if (program) program->run(columns, group, packed, {}, workspace);
    visit(begin, group, packed, program ? program->particle_output(0, workspace) : nullptr);
  }
}

void ElementNumbers::count(RowSelection& selection) const {
  ElementCounts& counts = selection.elements;
  counts = {};
  if (compiled_.has_mask) {
    visit(nullptr, selection.kept, [&](std::size_t, auto group, const PackedRows& packed, const float*) {
      for (std::size_t row = 0; row < group.size(); ++row)
        counts.real.push_back(std::ssize(packed.slots_of(row)));
    });
  } else {
    for (const std::int64_t row : selection.kept) counts.real.push_back(raw_.slots_of(row));
  }
  if (has_label()) count_labels(selection);
  if (has_weight()) sum_weights(selection);
  counts.targets.resize(targets_.size());
  for (std::size_t i = 0; i < targets_.size(); ++i)
    if (compiled_.target_of_elements[i] && compiled_.targets[i].available(raw_)) measure_target(i, selection);
}

void ElementNumbers::count_labels(RowSelection& selection) const {
  const std::size_t classes = card_.classes.size();
  auto& per_class = selection.elements.per_class;
  per_class.assign(selection.kept.size() * classes, 0);
  visit(&compiled_.label, selection.kept,
        [&](std::size_t first, auto group, const PackedRows& packed, const float* values) {
          for (std::size_t row = 0; row < group.size(); ++row)
            for (std::int32_t i = packed.begin[row]; i < packed.begin[row + 1]; ++i) {
              const std::int64_t number = label_map_.class_of(values[i]);
              if (number >= 0)
                ++per_class[(first + row) * classes + static_cast<std::size_t>(number)];
              else
                selection.unknown.add(values[i], [&] {
                  return fmt::format("{}, row {}, hit {}", raw_.file, raw_.first_row + group[row],
                                     packed.slot[static_cast<std::size_t>(i)]);
                });
            }
        });
}

void ElementNumbers::sum_weights(RowSelection& selection) const {
  const std::size_t width = at_least_one(has_label() ? card_.classes.size() : 0);
  auto& sums = selection.elements.weights;
  sums.assign(selection.kept.size() * width, 0);
  const std::vector<std::int64_t> labels = labels_of(selection.kept);
  std::size_t element = 0;
  visit(&compiled_.weight, selection.kept,
        [&](std::size_t first, auto group, const PackedRows& packed, const float* values) {
          for (std::size_t row = 0; row < group.size(); ++row)
            for (std::int32_t i = packed.begin[row]; i < packed.begin[row + 1]; ++i) {
              if (!std::isfinite(values[i]) || values[i] < 0)
                refuse(group[row], packed.slot[static_cast<std::size_t>(i)],
                       fmt::format("the weight \"{}\"", card_.sample_weight), values[i],
                       "weights of hits are finite and not negative");
              const std::int64_t label = width == 1 ? 0 : labels[element];
              ++element;
              if (label >= 0) sums[(first + row) * width + static_cast<std::size_t>(label)] += values[i];
            }
        });
}

void ElementNumbers::measure_target(std::size_t number, RowSelection& selection) const {
  auto& moments = selection.elements.targets[number];
  visit(&compiled_.targets[number], selection.kept,
        [&](std::size_t, auto group, const PackedRows& packed, const float* values) {
          for (std::size_t row = 0; row < group.size(); ++row) {
            ElementCounts::Moments& found = moments.emplace_back();
            const std::int32_t begin = packed.begin[row], end = packed.begin[row + 1];
            for (std::int32_t i = begin; i < end; ++i) {
              if (!std::isfinite(values[i]))
                refuse(group[row], packed.slot[static_cast<std::size_t>(i)],
                       fmt::format("the target '{}'", targets_[number]), values[i],
                       "leave such hits out by mask under [hits] of the card, or repair the file");
              found.sum += values[i];
            }
            const double mean = end > begin ? found.sum / (end - begin) : 0;
            for (std::int32_t i = begin; i < end; ++i)
              found.squares += (values[i] - mean) * (values[i] - mean);
          }
        });
}

void ElementNumbers::refuse(std::int64_t row, std::int32_t element, const std::string& what, double value,
                            std::string_view allowed) const {
  throw DataError(fmt::format("{}, row {}, hit {}: {} is {}; {}", raw_.file, raw_.first_row + row, element,
                              what, value, allowed));
}

/// Class numbers of all elements; -1 in a file without labels.
std::vector<std::int64_t> ElementNumbers::labels_of(std::span<const std::int64_t> rows) const {
  std::vector<std::int64_t> labels;
  const bool known = has_label();
  visit(known ? &compiled_.label : nullptr, rows,
        [&](std::size_t, auto, const PackedRows& packed, const float* values) {
          for (std::size_t i = 0; i < packed.particles(); ++i)
            labels.push_back(known ? label_map_.class_of(values[i]) : -1);
        });
  return labels;
}

at::Tensor ElementNumbers::weights(std::span<const std::int64_t> rows,
                                   const std::vector<std::int64_t>& labels) const {
  at::Tensor tensor = at::full({std::ssize(labels)}, 1.0, at::TensorOptions(at::kFloat));
  float* weight = tensor.mutable_data_ptr<float>();
  if (has_weight()) {
    float* next = weight;
    visit(&compiled_.weight, rows, [&](std::size_t, auto, const PackedRows& packed, const float* values) {
      next = std::copy_n(values, packed.particles(), next);
    });
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    double value = weight[i] * card_.weight_factor.value_or(1);
    if (!card_.class_weights.empty() && labels[i] >= 0)
      value *= card_.class_weights[static_cast<std::size_t>(labels[i])];
    weight[i] = static_cast<float>(value);
  }
  return tensor;
}

void ElementNumbers::set_tensors(FeatureBlock& block, std::span<const std::int64_t> rows) const {
  const bool weighs = weighs_elements(card_, compiled_);
  if (compiled_.label_of_elements || weighs) {
    const std::vector<std::int64_t> labels = labels_of(rows);
    if (weighs) block.tensors.set("weight", weights(rows, labels));
    if (compiled_.label_of_elements) {
      at::Tensor label = at::empty({std::ssize(labels)}, at::kLong);
      std::ranges::copy(labels, label.mutable_data_ptr<std::int64_t>());
      block.tensors.set("label", std::move(label));
    }
  }
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (!compiled_.target_of_elements[i]) continue;
    const bool known = compiled_.targets[i].available(raw_);
    std::vector<float> values;
    visit(known ? &compiled_.targets[i] : nullptr, rows,
          [&](std::size_t, auto, const PackedRows& packed, const float* found) {
            if (known) return void(values.insert(values.end(), found, found + packed.particles()));
            values.resize(values.size() + packed.particles(), std::numeric_limits<float>::quiet_NaN());
          });
    at::Tensor target = at::empty({std::ssize(values)}, at::kFloat);
    std::ranges::copy(values, target.mutable_data_ptr<float>());
    block.tensors.set(targets_[i], std::move(target));
  }
}

}  // namespace bunchtrain::features::detail
