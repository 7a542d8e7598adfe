// SPDX-License-Identifier: Apache-2.0
#include "jet_part.hpp"

#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/collation.hpp"
#include "bunchtrain/data/detail/device_plan.hpp"
#include "bunchtrain/features/standardisation.hpp"
#include "io/slab.hpp"
#include "part_text.hpp"
#include "sample_ranges.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::int64_t kRowsDescribed = 4096;
constexpr std::int64_t kElementsPerRow =
    64;  // of jets; rows with many more elements are surveyed in smaller number
constexpr std::int64_t kLengthMultiple = 8;  // of slots of batches

std::vector<std::vector<std::string>> paths_of(const std::vector<JetFile>& files) {
  std::vector<std::vector<std::string>> lines;
  for (const auto& file : files) lines.push_back(file.paths());
  return lines;
}

}  // namespace

JetPart::JetPart(std::shared_ptr<const JetSource> source, features::Card card, RowRule rule, SplitPart part,
                 Particles particles)
    : source_(std::move(source)),
      card_(std::move(card)),
      pipeline_(particles == Particles::of_source ? source_->delivered(card_) : card_, source_->targets()),
      rule_(std::move(rule)) {
  summary_.part = std::move(part);
  ragged_ = pipeline_.ragged_tensors();
  if (pipeline_.card().ragged && !card_.ragged)
    collation_ = make_longest_collation(card_.length, kLengthMultiple, std::min(kLeastLength, card_.length));
  count();
  describe();
}

std::vector<std::int64_t> JetPart::rows_in(const RowRange& range) const {
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < range.count; ++i)
    if (source_->kept(range.first_row + i) && rule_(range.first_row + i))
      rows.push_back(static_cast<std::int64_t>(i));
  return rows;
}

void JetPart::count() {
  summary_.class_counts.assign(card_.classes.size(), 0);
  if (pipeline_.card().ragged) row_splits_.push_back(0);
  for (const auto& range : source_->ranges()) {
    const auto rows = rows_in(range);
    ranges_.push_back({.first = size_, .count = static_cast<std::int64_t>(rows.size())});
    size_ += ranges_.back().count;
    for (const auto in_range : rows) {
      const std::size_t row = range.first_row + static_cast<std::size_t>(in_range);
      count_elements(row);
      const auto label = source_->label(row);
      if (label >= 0) ++summary_.class_counts[static_cast<std::size_t>(label)];
    }
  }
}

void JetPart::count_elements(std::size_t row) {
  if (row_splits_.empty()) return;
  const features::ElementCounts& elements = source_->elements();
  row_splits_.push_back(row_splits_.back() + elements.real[row]);
  if (elements.per_class.empty()) return;
  const std::size_t classes = summary_.class_counts.size();
  for (std::size_t i = 0; i < classes; ++i) summary_.class_counts[i] += elements.per_class[row * classes + i];
}

std::int64_t JetPart::count_longer(std::int64_t length) const {
  std::int64_t longer = 0;
  for (std::size_t i = 1; i < row_splits_.size(); ++i) longer += row_splits_[i] - row_splits_[i - 1] > length;
  return longer;
}

/// "9 of 10 events (489986 hits)".
std::string JetPart::count_text() const {
  const features::CardKind kind = card_.kind;
  std::string text = fmt::format("{} of {} {}s", size_, source_->rows(), features::sample_word(kind));
  if (!row_splits_.empty())
    text += fmt::format(" ({} {}s)", row_splits_.back(), features::element_word(kind));
  return text;
}

void JetPart::describe() {
  const auto& card = card_;
  for (const auto& entry : card.classes) summary_.classes.push_back(entry.name);
  const std::string& name = summary_.part.name;
  const std::string part = name.empty() ? "" : name + ": ";
  summary_.description =
      fmt::format("{}{} in {}, card {}", part, count_text(),
                  name_files(source_->files().front().path(), source_->files().size()), card.name);
  summary_.samples = size_;
  if (!card.label.empty()) summary_.labels = features::describe_labels(card);
  summary_.files = source_->identities();
  summary_.rows = source_->counts();
  describe_weights();
  summary_.paths = collect_paths(paths_of(source_->files()));
  summary_.paths.push_back(io::describe(source_->engine(), summary_.paths));
  summary_.card = features::to_toml(card);
  summary_.signal = card.signal;
  summary_.fingerprint =
      hash_hex(fmt::format("{} {} {} {}", source_->fingerprint(), text_of_use(), name, size_));
  if (features::needs_fit(card) || features::needs_weights(card) || needs_scales())
    return;  // a draft that only serves to be fitted
  const Survey found = survey(kRowsDescribed);
  summary_.columns = found.columns;
  summary_.ranges = found.ranges;
  summary_.surveyed = found.samples;
  summary_.truncated = collation_ ? count_longer(card_.length) : found.truncated;
  summary_.rows.without_particles = found.without_particles;
}

/// The card as far as it says something about the samples: targets that are not read do not.
std::string JetPart::text_of_use() const {
  features::Card card = card_;
  std::erase_if(card.targets, [&](const features::TargetSpec& target) {
    return std::ranges::find(pipeline_.targets(), target.name) == pipeline_.targets().end();
  });
  return features::to_toml(card);
}

/// A draft has targets whose scale is not known yet.
bool JetPart::needs_scales() const {
  return std::ranges::any_of(pipeline_.targets(),
                             [&](const std::string& name) { return !card_.target(name).width.has_value(); });
}

void JetPart::describe_weights() {
  const auto& card = card_;
  summary_.weight_factor = card.weight_factor.value_or(1);
  if (card.sample_weight.empty()) return;
  const WeightSums weights = weigh(card.class_weights);
  summary_.negative_weights = weights.negative();
  summary_.negative_weight_share = weights.negative_share();
}

ReadPlan JetPart::plan(std::size_t index) const {
  const RowRange& range = source_->ranges().at(index);
  ReadPlan plan;
  source_->files()[range.file].plan(range.first, range.count, ColumnSet::all, plan);
  return plan;
}

features::FeatureBlock JetPart::evaluate(std::size_t index, PlannedBytes bytes,
                                         features::RawRanges* ranges) const {
  const RowRange& range = source_->ranges().at(index);
  thread_local features::RawColumns raw;
  source_->files()[range.file].decode(range.first, range.count, ColumnSet::all, bytes, raw);
  bytes.require_end();
  const std::vector<std::int64_t> rows = rows_in(range);
  features::FeatureBlock block = pipeline_.evaluate(raw, rows);
  if (ranges) pipeline_.add_to_ranges(raw, rows, *ranges);
  return block;
}

features::FeatureBlock JetPart::evaluate(std::size_t index, features::RawRanges* ranges) const {
  const ReadPlan wanted = plan(index);
  return evaluate(index, io::thread_slab().fetch(wanted), ranges);
}

SampleBlock JetPart::read(std::size_t range) const {
  const ReadPlan wanted = plan(range);
  return decode(range, io::thread_slab().fetch(wanted));
}

SampleBlock JetPart::decode(std::size_t range, PlannedBytes bytes) const {
  return as_samples(range, evaluate(range, bytes));
}

SampleBlock JetPart::as_samples(std::size_t range, features::FeatureBlock made) const {
  SampleBlock block{.tensors = std::move(made.tensors), .range = ranges_.at(range)};
  if (card_.kind == features::CardKind::jets && !block.tensors.contains("label"))
    block.tensors.set("label", at::full({block.range.count}, -1, at::TensorOptions().dtype(at::kLong)));
  return block;
}

DeviceSupport JetPart::device_support() const {
  DeviceSupport support{.why_not = pipeline_.why_not_on_device(), .tensors = pipeline_.device_tensors()};
  for (const JetFile& file : source_->files()) {
    if (!support.why_not.empty()) break;
    support.why_not = file.why_not_on_device();
  }
  return support;
}

DevicePlan JetPart::plan_on_device(std::size_t index) const {
  const RowRange& range = source_->ranges().at(index);
  const JetFile& file = source_->files()[range.file];
  DevicePlan plan;
  file.plan_on_device(range.first, range.count, plan);
  file.plan(range.first, range.count, ColumnSet::beside_device, plan.to_host);
  return plan;
}

std::optional<SampleBlock> JetPart::decode_on_device(std::size_t index, const DevicePlan& plan,
                                                     const DeviceBytes& bytes) const {
  const RowRange& range = source_->ranges().at(index);
  thread_local features::RawColumns raw;
  PlannedBytes on_host = bytes.on_host;
  source_->files()[range.file].decode(range.first, range.count, ColumnSet::beside_device, on_host, raw);
  on_host.require_end();
  auto block = pipeline_.evaluate_on_device(
      {.columns = &plan.columns, .bytes = bytes.on_device, .device = bytes.device}, raw, rows_in(range));
  if (!block) return std::nullopt;
  return as_samples(index, std::move(*block));
}

std::vector<std::size_t> JetPart::filled_ranges() const {
  std::vector<std::size_t> filled;
  for (std::size_t i = 0; i < ranges_.size(); ++i)
    if (ranges_[i].count > 0) filled.push_back(i);
  return filled;
}

JetPart::Survey JetPart::survey(std::int64_t most_rows) const {
  features::StandardisationFit fit(card_);
  if (!row_splits_.empty() && row_splits_.back() > kElementsPerRow * size_)
    most_rows = std::max<std::int64_t>(most_rows * kElementsPerRow * size_ / row_splits_.back(), 1);
  const auto filled = filled_ranges();
  // As many ranges as hold the rows wanted, at equal distances.
  const std::int64_t per_range =
      filled.empty() ? 1 : std::max<std::int64_t>(size_ / static_cast<std::int64_t>(filled.size()), 1);
  const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(most_rows / per_range, 1));
  const std::size_t taken = std::min(filled.size(), wanted);
  features::FeatureCounts seen;
  features::RawRanges ranges;
  for (std::size_t i = 0; i < taken; ++i) {
    const auto block = evaluate(filled[i * filled.size() / taken], &ranges);
    fit.add(block);
    seen.rows += block.counts.rows;
    seen.truncated += block.counts.truncated;
    seen.without_particles += block.counts.without_particles;
  }
  if (seen.rows > 0 && seen.without_particles == seen.rows) require_particles(filled);
  const auto scaled = [&](std::int64_t count) {
    return seen.rows == 0 ? 0
                          : std::llround(static_cast<double>(count) * static_cast<double>(size_) /
                                         static_cast<double>(seen.rows));
  };
  return {.columns = fit.summaries(),
          .ranges = std::move(ranges),
          .samples = seen.rows,
          .truncated = scaled(seen.truncated),
          .without_particles = scaled(seen.without_particles)};
}

/// A few jets of a validation part may all be empty, a whole dataset may not.
void JetPart::require_particles(const std::vector<std::size_t>& ranges) const {
  if (summary_.part.name == "valid") return;
  for (const std::size_t range : ranges) {
    const auto counts = evaluate(range).counts;
    if (counts.without_particles < counts.rows) return;
  }
  const auto& card = card_;
  const auto& file = source_->files().front();
  throw DataError(fmt::format(
      "{}: none of the {} {}s in {} has a real {} by the mask \"{}\" of card '{}'; "
      "look at the columns with {}, then change mask in the card",
      file.path(), size_, features::sample_word(card.kind), name_files(file.path(), source_->files().size()),
      features::element_word(card.kind), card.mask, card.name, way_to(Advice::look_at_data, file.path())));
}

WeightSums JetPart::weigh(const std::vector<double>& class_weights) const {
  WeightSums sums;
  for (const auto& range : source_->ranges()) {
    for (const auto in_range : rows_in(range)) {
      const std::size_t row = range.first_row + static_cast<std::size_t>(in_range);
      if (pipeline_.weighs_elements()) {
        add_element_weights(row, class_weights, sums);
        continue;
      }
      const auto label = source_->label(row);
      const bool has_class = label >= 0 && !class_weights.empty();
      sums.add(source_->weight(row) * (has_class ? class_weights[static_cast<std::size_t>(label)] : 1));
    }
  }
  return sums;
}

/// Sums of each class times its weight; where only classes have weights, their numbers.
void JetPart::add_element_weights(std::size_t row, const std::vector<double>& class_weights,
                                  WeightSums& sums) const {
  const features::ElementCounts& elements = source_->elements();
  const bool by_class = !elements.per_class.empty();
  const std::size_t classes = by_class ? card_.classes.size() : 1;
  for (std::size_t i = 0; i < classes; ++i) {
    const std::size_t at = row * classes + i;
    const std::int64_t count = by_class ? elements.per_class[at] : elements.real[row];
    const double sum = elements.weights.empty() ? static_cast<double>(count) : elements.weights[at];
    sums.add_sum(sum * (class_weights.empty() ? 1 : class_weights[i]), count);
  }
}

/// Moments of samples put together: squares are those within each and those between their means.
JetPart::Spread JetPart::spread_over_elements(std::size_t number) const {
  const features::ElementCounts& elements = source_->elements();
  double sum = 0, squares = 0;
  std::int64_t count = 0;
  for (const RowRange& range : source_->ranges())
    for (const auto in_range : rows_in(range)) {
      const std::size_t row = range.first_row + static_cast<std::size_t>(in_range);
      const features::ElementCounts::Moments& more = elements.targets[number][row];
      const auto mine = static_cast<double>(count), others = static_cast<double>(elements.real[row]);
      if (others == 0) continue;
      const double distance = count == 0 ? 0 : more.sum / others - sum / mine;
      squares += more.squares + distance * distance * mine * others / (mine + others);
      sum += more.sum;
      count += elements.real[row];
    }
  if (count == 0) return {};
  const auto all = static_cast<double>(count);
  return {.mean = sum / all, .width = std::sqrt(squares / all), .samples = count};
}

/// In the order of rows: the same to the bit wherever it is computed.
JetPart::Spread JetPart::spread(std::size_t number) const {
  if (pipeline_.is_of_elements(source_->targets()[number])) return spread_over_elements(number);
  std::vector<double> values;
  for (const auto& range : source_->ranges())
    for (const auto in_range : rows_in(range)) {
      const double value = source_->target(number, range.first_row + static_cast<std::size_t>(in_range));
      if (!std::isnan(value)) values.push_back(value);
    }
  if (values.empty()) return {};
  const auto count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / count;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {.mean = mean, .width = std::sqrt(squares / count), .samples = std::ssize(values)};
}

JetDataset::RowReference JetPart::row_of(std::int64_t sample) const {
  if (sample < 0 || sample >= size_)
    throw ConfigError("sample", std::to_string(sample), fmt::format("0 to {}", size_ - 1));
  // The last range that begins at or before the sample; empty ones share their first sample
  // with the one that follows.
  const std::size_t index = find_range(ranges_, sample);
  const RowRange& range = source_->ranges()[index];
  const auto row = rows_in(range)[static_cast<std::size_t>(sample - ranges_[index].first)];
  return {.file = static_cast<std::int32_t>(range.file), .row = static_cast<std::int64_t>(range.first) + row};
}

std::vector<JetDataset::RowReference> JetPart::rows() const {
  std::vector<JetDataset::RowReference> all;
  all.reserve(static_cast<std::size_t>(size_));
  for (const RowRange& range : source_->ranges())
    for (const std::int64_t row : rows_in(range))
      all.push_back({.file = static_cast<std::int32_t>(range.file),
                     .row = static_cast<std::int64_t>(range.first) + row});
  return all;
}

}  // namespace bunchtrain::data
