// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/feature_pipeline.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "bunchtrain/core/error.hpp"
#include "detail/block_writer.hpp"
#include "detail/compiled_card.hpp"
#include "detail/label_map.hpp"

namespace bunchtrain::features {
namespace {

using detail::BoundColumns;
using detail::CompiledCard;
using detail::PackedRows;
using detail::ParticlePacker;
using detail::Program;
using detail::Workspace;

/// Values of a one-output jet program for all `rows`; empty if the block lacks its columns.
std::vector<double> evaluate_jets(const CompiledCard& compiled, const Program& program, const RawColumns& raw,
                                  std::span<const std::int64_t> rows) {
  Workspace& workspace = detail::thread_workspace();
  const BoundColumns columns = program.bind(raw);
  std::optional<ParticlePacker> packer;  // the cheap first pass reads no particles
  if (program.reads_particles()) packer.emplace(compiled, raw);
  PackedRows real;
  std::vector<double> values;
  values.reserve(rows.size());
  const std::size_t step = detail::rows_per_group(raw.slots);
  for (std::size_t begin = 0; begin < rows.size(); begin += step) {
    const auto group = rows.subspan(begin, std::min(step, rows.size() - begin));
    if (packer) packer->pack(group, workspace, real);
    program.run(columns, group, real, {}, workspace);
    const double* result = program.jet_output(0, workspace);
    values.insert(values.end(), result, result + group.size());
  }
  return values;
}

std::vector<std::int64_t> all_rows(const RawColumns& raw) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(raw.rows));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace

struct FeaturePipeline::Impl {
  explicit Impl(Card parsed);

  std::vector<std::int64_t> class_numbers(const std::vector<double>& values) const;
  void set_jet_tensors(FeatureBlock& block, const RawColumns& raw, std::span<const std::int64_t> rows) const;
  at::Tensor weights(const RawColumns& raw, std::span<const std::int64_t> rows,
                     const std::vector<std::int64_t>& labels) const;

  Card card;
  CompiledCard compiled;
  detail::LabelMap label_map;
};

FeaturePipeline::Impl::Impl(Card parsed)
    : card(std::move(parsed)), compiled((validate(card), card)), label_map(card.classes) {}

std::vector<std::int64_t> FeaturePipeline::Impl::class_numbers(const std::vector<double>& values) const {
  std::vector<std::int64_t> numbers;
  numbers.reserve(values.size());
  for (const double value : values) numbers.push_back(label_map.class_of(value));
  return numbers;
}

FeaturePipeline::FeaturePipeline(Card card) : impl_(std::make_unique<Impl>(std::move(card))) {}
FeaturePipeline::~FeaturePipeline() = default;
FeaturePipeline::FeaturePipeline(FeaturePipeline&&) noexcept = default;
FeaturePipeline& FeaturePipeline::operator=(FeaturePipeline&&) noexcept = default;

const Card& FeaturePipeline::card() const noexcept { return impl_->card; }
const std::vector<std::string>& FeaturePipeline::required_columns() const noexcept {
  return impl_->compiled.required;
}
const std::vector<std::string>& FeaturePipeline::optional_columns() const noexcept {
  return impl_->compiled.optional;
}
const std::vector<std::string>& FeaturePipeline::selection_columns() const noexcept {
  return impl_->compiled.selection;
}

FeatureCounts FeaturePipeline::select_rows(const RawColumns& raw, std::vector<std::int64_t>& kept,
                                           std::vector<std::int64_t>& labels,
                                           std::vector<std::int64_t>& keys) const {
  const CompiledCard& compiled = impl_->compiled;
  FeatureCounts counts{.rows = raw.rows,
                       .per_class = std::vector<std::int64_t>(impl_->card.classes.size(), 0)};
  std::vector<std::int64_t> selected = all_rows(raw);
  if (compiled.has_select) {
    const std::vector<double> passes = evaluate_jets(compiled, compiled.select, raw, selected);
    std::erase_if(selected,
                  [&passes](std::int64_t row) { return !(passes[static_cast<std::size_t>(row)] != 0); });
  }

  kept.clear();
  labels.clear();
  keys.clear();
  if (compiled.has_label && compiled.label.available(raw)) {
    const std::vector<double> values = evaluate_jets(compiled, compiled.label, raw, selected);
    std::map<double, std::int64_t> unknown;
    for (std::size_t i = 0; i < selected.size(); ++i) {
      const std::int64_t label = impl_->label_map.class_of(values[i]);
      if (label < 0) {
        if (!impl_->card.drop_other_labels) ++unknown[std::isnan(values[i]) ? -1e300 : values[i]];
        continue;
      }
      kept.push_back(selected[i]);
      labels.push_back(label);
      ++counts.per_class[static_cast<std::size_t>(label)];
    }
    if (!unknown.empty()) {
      throw DataError(fmt::format("{}, rows {} to {}: {}", raw.file, raw.first_row,
                                  raw.first_row + raw.rows - 1,
                                  detail::describe_unknown_labels(impl_->card, unknown)));
    }
  } else {
    kept = std::move(selected);
    labels.assign(kept.size(), -1);
    counts.unlabelled = static_cast<std::int64_t>(kept.size());
  }
  if (compiled.has_split && compiled.split.available(raw)) {
    for (const double key : evaluate_jets(compiled, compiled.split, raw, kept))
      keys.push_back(std::llround(key));
  }
  counts.selected = static_cast<std::int64_t>(kept.size());
  return counts;
}

at::Tensor FeaturePipeline::Impl::weights(const RawColumns& raw, std::span<const std::int64_t> rows,
                                          const std::vector<std::int64_t>& labels) const {
  const auto count = static_cast<std::int64_t>(rows.size());
  at::Tensor tensor = at::empty({count}, at::kFloat);
  auto* weight = tensor.mutable_data_ptr<float>();
  std::fill_n(weight, rows.size(), 1.0f);
  if (compiled.has_weight && compiled.weight.available(raw)) {
    const std::vector<double> values = evaluate_jets(compiled, compiled.weight, raw, rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!std::isfinite(values[i]) || values[i] < 0) {
        throw DataError(fmt::format("{}, row {}: weight \"{}\" is {}", raw.file, raw.first_row + rows[i],
                                    card.sample_weight, values[i]));
      }
      weight[i] = static_cast<float>(values[i]);
    }
  }
  for (std::size_t i = 0; i < labels.size() && !card.class_weights.empty(); ++i) {
    if (labels[i] >= 0)
      weight[i] *= static_cast<float>(card.class_weights[static_cast<std::size_t>(labels[i])]);
  }
  return tensor;
}

void FeaturePipeline::Impl::set_jet_tensors(FeatureBlock& block, const RawColumns& raw,
                                            std::span<const std::int64_t> rows) const {
  FeatureCounts& counts = block.counts;
  std::vector<std::int64_t> labels(rows.size(), -1);
  if (compiled.has_label && compiled.label.available(raw)) {
    labels = class_numbers(evaluate_jets(compiled, compiled.label, raw, rows));
  }
  for (const std::int64_t label : labels) {
    if (label < 0)
      ++counts.unlabelled;
    else
      ++counts.per_class[static_cast<std::size_t>(label)];
  }
  if (compiled.has_label) {
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(rows.size())}, at::kLong);
    std::ranges::copy(labels, tensor.mutable_data_ptr<std::int64_t>());
    block.tensors.set("label", std::move(tensor));
  }
  if (compiled.has_weight || card.balanced_classes || !card.class_weights.empty()) {
    block.tensors.set("weight", weights(raw, rows, labels));
  }
}

FeatureBlock FeaturePipeline::evaluate(const RawColumns& raw, std::span<const std::int64_t> rows) const {
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= raw.rows)
      throw ConfigError(fmt::format("row {} of a block of {} rows", row, raw.rows));
  }
  FeatureBlock block;
  block.kept_rows.assign(rows.begin(), rows.end());
  block.counts.rows = block.counts.selected = static_cast<std::int64_t>(rows.size());
  block.counts.per_class.assign(impl_->card.classes.size(), 0);
  detail::BlockWriter(impl_->card, impl_->compiled, raw, rows).write(block);
  impl_->set_jet_tensors(block, raw, rows);
  return block;
}

}  // namespace bunchtrain::features
