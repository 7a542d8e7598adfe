// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/feature_pipeline.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "block_writer.hpp"
#include "bunchtrain/core/error.hpp"
#include "compiled_card.hpp"
#include "device_block.hpp"
#include "hits/element_numbers.hpp"
#include "label_map.hpp"
#include "odd_values.hpp"
#include "raw_values.hpp"

namespace bunchtrain::features {
namespace {

using detail::BoundColumns;
using detail::CompiledCard;
using detail::OddValue;
using detail::PackedRows;
using detail::ParticlePacker;
using detail::Program;
using detail::Workspace;

/// Values of a one-output jet program for `rows`, and the first odd value of each row that has one.
struct JetValues {
  std::vector<double> values;
  std::vector<OddValue> odd;  ///< ascending rows
};

JetValues evaluate_jets(const CompiledCard& compiled, const Program& program, const RawColumns& raw,
                        std::span<const std::int64_t> rows) {
  Workspace& workspace = detail::thread_workspace();
  const BoundColumns columns = program.bind(raw);
  std::optional<ParticlePacker> packer;  // the cheap first pass reads no particles
  if (program.reads_particles()) packer.emplace(compiled, raw).bind();
  PackedRows real;
  JetValues result;
  result.values.reserve(rows.size());
  const std::size_t step = detail::rows_per_group(raw);
  for (std::size_t begin = 0; begin < rows.size(); begin += step) {
    const auto group = rows.subspan(begin, std::min(step, rows.size() - begin));
    if (packer) packer->pack(group, workspace, real);
    program.run(columns, group, real, {}, workspace);
    std::vector<OddValue> odd;
    detail::collect_odd(program, {}, group, real, workspace, {}, odd);
    std::ranges::sort(odd, {}, &OddValue::row);
    result.odd.insert(result.odd.end(), odd.begin(), odd.end());
    const double* values = program.jet_output(0, workspace);
    result.values.insert(result.values.end(), values, values + group.size());
  }
  return result;
}

/// Odd are also values that are not finite though all columns are: a division by zero.
void add_odd_results(JetValues& found, std::span<const std::int64_t> rows, const std::string& expression,
                     double largest) {
  std::vector<OddValue> odd;
  auto known = found.odd.begin();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (known != found.odd.end() && known->row == rows[i])
      odd.push_back(*known++);
    else if (!(std::abs(found.values[i]) <= largest))
      odd.push_back({.row = rows[i], .column = expression, .value = found.values[i]});
  }
  found.odd = std::move(odd);
}

/// Without tensors. @throws ConfigError for a row that is not there
FeatureBlock block_of(const RawColumns& raw, std::span<const std::int64_t> rows) {
  for (const std::int64_t row : rows)
    if (row < 0 || row >= raw.rows)
      throw ConfigError(fmt::format("row {} of a block of {} rows", row, raw.rows));
  FeatureBlock block;
  block.kept_rows.assign(rows.begin(), rows.end());
  block.counts.rows = block.counts.selected = static_cast<std::int64_t>(rows.size());
  return block;
}

std::vector<std::int64_t> all_rows(const RawColumns& raw) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(raw.rows));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace

struct FeaturePipeline::Impl {
  Impl(Card parsed, std::vector<std::string> wanted);

  void select(const RawColumns& raw, RowSelection& selection) const;
  void take_labels(const RawColumns& raw, RowSelection& selection) const;
  void take_keys(const RawColumns& raw, RowSelection& selection) const;
  void take_weights(const RawColumns& raw, RowSelection& selection) const;
  void take_targets(const RawColumns& raw, RowSelection& selection) const;
  std::vector<double> sound_values(const RawColumns& raw, const Program& program, RowSelection& selection,
                                   std::string_view use, const std::string& expression,
                                   double largest = std::numeric_limits<double>::max()) const;
  void count_classes(const std::vector<std::int64_t>& labels, FeatureCounts& counts) const;
  std::vector<std::int64_t> class_numbers(const std::vector<double>& values) const;
  void set_jet_tensors(FeatureBlock& block, const RawColumns& raw, std::span<const std::int64_t> rows) const;
  at::Tensor weights(const RawColumns& raw, std::span<const std::int64_t> rows,
                     const std::vector<std::int64_t>& labels) const;
  at::Tensor target(std::size_t number, const RawColumns& raw, std::span<const std::int64_t> rows) const;

  detail::ElementNumbers elements(const RawColumns& raw) const {
    return {card, compiled, label_map, targets, raw};
  }

  Card card;
  std::vector<std::string> targets;
  CompiledCard compiled;
  detail::LabelMap label_map;
};

FeaturePipeline::Impl::Impl(Card parsed, std::vector<std::string> wanted)
    : card(std::move(parsed)),
      targets(std::move(wanted)),
      compiled((validate(card), card), targets),
      label_map(card.classes) {}

std::vector<std::int64_t> FeaturePipeline::Impl::class_numbers(const std::vector<double>& values) const {
  std::vector<std::int64_t> numbers;
  numbers.reserve(values.size());
  for (const double value : values) numbers.push_back(label_map.class_of(value));
  return numbers;
}

FeaturePipeline::FeaturePipeline(Card card, std::vector<std::string> targets)
    : impl_(std::make_unique<Impl>(std::move(card), std::move(targets))) {}
FeaturePipeline::~FeaturePipeline() = default;
FeaturePipeline::FeaturePipeline(FeaturePipeline&&) noexcept = default;
FeaturePipeline& FeaturePipeline::operator=(FeaturePipeline&&) noexcept = default;

const Card& FeaturePipeline::card() const noexcept { return impl_->card; }
const std::vector<std::string>& FeaturePipeline::targets() const noexcept { return impl_->targets; }
bool FeaturePipeline::labels_elements() const noexcept { return impl_->compiled.label_of_elements; }
bool FeaturePipeline::weighs_elements() const noexcept {
  return detail::weighs_elements(impl_->card, impl_->compiled);
}
bool FeaturePipeline::is_of_elements(std::string_view target) const {
  const auto place = std::ranges::find(impl_->targets, target) - impl_->targets.begin();
  return impl_->compiled.target_of_elements.at(static_cast<std::size_t>(place));
}

std::vector<std::string> FeaturePipeline::ragged_tensors() const {
  std::vector<std::string> names;
  if (!impl_->card.ragged) return names;
  for (const auto& [tensor, columns] : impl_->card.inputs) names.push_back(tensor);
  if (labels_elements()) names.emplace_back("label");
  if (weighs_elements()) names.emplace_back("weight");
  for (const std::string& target : impl_->targets)
    if (is_of_elements(target)) names.push_back(target);
  return names;
}

const std::vector<std::string>& FeaturePipeline::required_columns() const noexcept {
  return impl_->compiled.required;
}
const std::vector<std::string>& FeaturePipeline::optional_columns() const noexcept {
  return impl_->compiled.optional;
}
const std::vector<std::string>& FeaturePipeline::selection_columns() const noexcept {
  return impl_->compiled.selection;
}

void FeaturePipeline::select_rows(const RawColumns& raw, RowSelection& selection) const {
  selection = {};
  selection.kept = all_rows(raw);
  impl_->select(raw, selection);
  impl_->take_labels(raw, selection);
  impl_->take_keys(raw, selection);
  impl_->take_weights(raw, selection);
  impl_->take_targets(raw, selection);
  if (impl_->card.ragged) impl_->elements(raw).count(selection);
  FeatureCounts& counts = selection.counts;
  counts.rows = raw.rows;
  counts.selected = std::ssize(selection.kept);
  impl_->count_classes(selection.labels, counts);
}

void FeaturePipeline::require_known(const UnknownLabels& labels) const {
  if (!labels.empty()) throw DataError(detail::describe_unknown_labels(impl_->card, labels));
}

void FeaturePipeline::Impl::select(const RawColumns& raw, RowSelection& selection) const {
  if (!compiled.has_select) return;
  std::vector<double> passes = sound_values(raw, compiled.select, selection, "the selection", card.select);
  std::size_t next = 0;
  selection.counts.not_selected = static_cast<std::int64_t>(
      std::erase_if(selection.kept, [&](std::int64_t) { return !(passes[next++] != 0); }));
}

/// Rows without a class are dropped or left for `require_known`.
void FeaturePipeline::Impl::take_labels(const RawColumns& raw, RowSelection& selection) const {
  if (!compiled.has_label || compiled.label_of_elements || !compiled.label.available(raw)) {
    selection.labels.assign(selection.kept.size(), -1);
    return;
  }
  const std::vector<double> values = evaluate_jets(compiled, compiled.label, raw, selection.kept).values;
  std::size_t next = 0;
  std::erase_if(selection.kept, [&](std::int64_t row) {
    const double value = values[next++];
    const std::int64_t class_number = label_map.class_of(value);
    if (class_number >= 0)
      selection.labels.push_back(class_number);
    else if (card.drop_other_labels)
      ++(std::isfinite(value) ? selection.counts.other_labels : selection.counts.not_finite);
    else
      selection.unknown.add(value, [&] { return fmt::format("{}, row {}", raw.file, raw.first_row + row); });
    return class_number < 0;
  });
}

void FeaturePipeline::Impl::take_keys(const RawColumns& raw, RowSelection& selection) const {
  if (!compiled.has_split || !compiled.split.available(raw)) return;
  for (const double key : sound_values(raw, compiled.split, selection, "the split key", card.split_by))
    selection.keys.push_back(std::llround(key));
}

void FeaturePipeline::Impl::take_weights(const RawColumns& raw, RowSelection& selection) const {
  if (!compiled.has_weight || compiled.weight_of_elements || !compiled.weight.available(raw)) return;
  selection.weights = sound_values(raw, compiled.weight, selection, "the weight", card.sample_weight);
}

/// They have to be finite in single precision, which the batch has.
void FeaturePipeline::Impl::take_targets(const RawColumns& raw, RowSelection& selection) const {
  selection.targets.resize(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const Program& program = compiled.targets[i];
    if (compiled.target_of_elements[i] || !program.available(raw)) continue;
    selection.targets[i] =
        sound_values(raw, program, selection, fmt::format("the target '{}'", targets[i]),
                     card.target(targets[i]).expression, std::numeric_limits<float>::max());
  }
}

/// Values of a program for the rows kept. Rows whose value or columns are not finite leave `selection`, where
/// the card says so. @throws DataError where it does not.
std::vector<double> FeaturePipeline::Impl::sound_values(const RawColumns& raw, const Program& program,
                                                        RowSelection& selection, std::string_view use,
                                                        const std::string& expression, double largest) const {
  JetValues found = evaluate_jets(compiled, program, raw, selection.kept);
  if (&program != &compiled.select) add_odd_results(found, selection.kept, expression, largest);
  if (found.odd.empty()) return std::move(found.values);
  if (!card.drop_not_finite)
    throw DataError(detail::describe_odd_jet(card, raw, found.odd.front(), std::ssize(found.odd),
                                             std::ssize(selection.kept), use, expression));
  std::vector<bool> is_odd(static_cast<std::size_t>(raw.rows), false);
  for (const OddValue& odd : found.odd) is_odd[static_cast<std::size_t>(odd.row)] = true;
  selection.counts.not_finite += std::ssize(found.odd);
  const auto drop = [&](auto& values) {
    std::size_t next = 0;
    std::erase_if(values,
                  [&](const auto&) { return is_odd[static_cast<std::size_t>(selection.kept[next++])]; });
  };
  drop(found.values);
  if (!selection.labels.empty()) drop(selection.labels);
  if (!selection.keys.empty()) drop(selection.keys);
  if (!selection.weights.empty()) drop(selection.weights);
  for (auto& values : selection.targets)
    if (!values.empty()) drop(values);
  std::erase_if(selection.kept, [&](std::int64_t row) { return is_odd[static_cast<std::size_t>(row)]; });
  return std::move(found.values);
}

void FeaturePipeline::Impl::count_classes(const std::vector<std::int64_t>& labels,
                                          FeatureCounts& counts) const {
  counts.per_class.assign(card.classes.size(), 0);
  for (const std::int64_t label : labels)
    ++(label < 0 ? counts.unlabelled : counts.per_class[static_cast<std::size_t>(label)]);
}

/// Products in double precision, whose range a common factor of any size does not leave.
at::Tensor FeaturePipeline::Impl::weights(const RawColumns& raw, std::span<const std::int64_t> rows,
                                          const std::vector<std::int64_t>& labels) const {
  const bool has_sample = compiled.has_weight && compiled.weight.available(raw);
  std::vector<double> values(rows.size(), 1.0);
  if (has_sample) values = evaluate_jets(compiled, compiled.weight, raw, rows).values;
  if (has_sample || !compiled.has_weight)
    for (double& value : values) value *= card.weight_factor.value_or(1);
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(rows.size())}, at::kFloat);
  auto* weight = tensor.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!card.class_weights.empty() && labels[i] >= 0)
      values[i] *= card.class_weights[static_cast<std::size_t>(labels[i])];
    weight[i] = static_cast<float>(values[i]);
    if (!std::isfinite(weight[i]))
      throw DataError(fmt::format(
          "{}, row {}: the weight \"{}\" is {} after multiplication by the card's factor "
          "{}; take weights of the scale that it was fitted to",
          raw.file, raw.first_row + rows[i], card.sample_weight, weight[i], card.weight_factor.value_or(1)));
  }
  return tensor;
}

at::Tensor FeaturePipeline::Impl::target(std::size_t number, const RawColumns& raw,
                                         std::span<const std::int64_t> rows) const {
  const Program& program = compiled.targets[number];
  const auto count = static_cast<std::int64_t>(rows.size());
  if (!program.available(raw))
    return at::full({count}, std::numeric_limits<double>::quiet_NaN(), at::TensorOptions(at::kFloat));
  at::Tensor tensor = at::empty({count}, at::kFloat);
  std::ranges::transform(evaluate_jets(compiled, program, raw, rows).values, tensor.mutable_data_ptr<float>(),
                         [](double value) { return static_cast<float>(value); });
  return tensor;
}

void FeaturePipeline::Impl::set_jet_tensors(FeatureBlock& block, const RawColumns& raw,
                                            std::span<const std::int64_t> rows) const {
  FeatureCounts& counts = block.counts;
  std::vector<std::int64_t> labels(rows.size(), -1);
  const bool has_label = compiled.has_label && !compiled.label_of_elements;
  if (has_label && compiled.label.available(raw)) {
    labels = class_numbers(evaluate_jets(compiled, compiled.label, raw, rows).values);
  }
  count_classes(labels, counts);
  if (has_label) {
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(rows.size())}, at::kLong);
    std::ranges::copy(labels, tensor.mutable_data_ptr<std::int64_t>());
    block.tensors.set("label", std::move(tensor));
  }
  if (card.has_weights() && !detail::weighs_elements(card, compiled))
    block.tensors.set("weight", weights(raw, rows, labels));
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (!compiled.target_of_elements[i]) block.tensors.set(targets[i], target(i, raw, rows));
}

FeatureBlock FeaturePipeline::evaluate(const RawColumns& raw, std::span<const std::int64_t> rows) const {
  FeatureBlock block = block_of(raw, rows);
  detail::write_block(impl_->card, impl_->compiled, raw, rows, block);
  impl_->set_jet_tensors(block, raw, rows);
  if (impl_->card.ragged) impl_->elements(raw).set_tensors(block, rows);
  return block;
}

std::string FeaturePipeline::why_not_on_device() const {
  return detail::why_not_on_device(impl_->card, impl_->compiled);
}

std::vector<std::string> FeaturePipeline::device_tensors() const {
  std::vector<std::string> names;
  for (const auto& [tensor, columns] : impl_->card.inputs) names.push_back(tensor);
  if (!impl_->card.ragged) names.emplace_back("mask");
  return names;
}

std::optional<FeatureBlock> FeaturePipeline::evaluate_on_device(const detail::DeviceColumns& columns,
                                                                RawColumns& raw,
                                                                std::span<const std::int64_t> rows) const {
  FeatureBlock block = block_of(raw, rows);
  if (!detail::write_device_block(impl_->card, impl_->compiled, columns, raw, rows, block))
    return std::nullopt;
  impl_->set_jet_tensors(block, raw, rows);
  return block;
}

void FeaturePipeline::add_to_ranges(const RawColumns& raw, std::span<const std::int64_t> rows,
                                    RawRanges& ranges) const {
  detail::add_to_ranges(impl_->compiled, raw, rows, detail::thread_workspace(), ranges);
}

}  // namespace bunchtrain::features
