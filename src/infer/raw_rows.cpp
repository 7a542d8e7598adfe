// SPDX-License-Identifier: Apache-2.0
#include "raw_rows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::infer::detail {
namespace {

constexpr std::string_view kParticlePrefix = "part.", kJetPrefix = "jet.";

std::string_view without_prefix(const InputColumn& column) {
  const std::string_view name = column.name;
  return name.substr((column.of_particles ? kParticlePrefix : kJetPrefix).size());
}

/// The unit that a source gives a column of its own; nothing for a column of others.
const std::string* unit_in(const features::ReadSource& source, const std::string& name) {
  const bool listed = std::ranges::find(source.columns, name) != source.columns.end();
  if (!listed && !source.columns.empty()) return nullptr;
  auto unit = source.units.find(name);
  if (unit == source.units.end()) unit = source.units.find("*");
  return unit == source.units.end() ? nullptr : &unit->second;
}

std::size_t size_of(const RawColumn& column) { return std::max(column.values.size(), column.doubles.size()); }

/// The stride between jets, where 0 stands for dense columns.
std::int64_t jet_stride(const RawColumn& column, std::int64_t slots) {
  return column.jet_stride > 0 ? column.jet_stride : slots * column.particle_stride;
}

/// A vector that grows takes twice as much otherwise.
template <class T>
void resize_exactly(std::vector<T>& values, std::int64_t count) {
  values.reserve(static_cast<std::size_t>(count));
  values.resize(static_cast<std::size_t>(count));
}

template <class From, class To>
void copy_run(const From* from, std::int64_t count, std::int64_t stride, To* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(from[i * stride]);
}

}  // namespace

features::Card read_jet_card(const std::string& text, const std::string& origin) {
  if (text.empty())
    throw CheckpointError(
        fmt::format("{} does not say the data card of its run: it was trained on data in memory", origin));
  features::Card card = features::parse_card(text, origin);
  if (card.kind == features::CardKind::jets && !card.ragged) return card;
  throw CheckpointError(fmt::format(
      "{} is of a network of {}s in ragged batches, which a Predictor does not score: evaluate it with the program that "
      "trained it",
      origin, features::sample_word(card.kind)));
}

void refuse_scratch() {
  throw ConfigError(
      "the scratch is that of another predictor, or was moved from: make one by make_scratch()");
}

void require_size(std::span<const double> scores, std::int64_t jets,
                  const std::vector<std::string>& outputs) {
  if (std::ssize(scores) == jets * std::ssize(outputs)) return;
  throw ConfigError("size of the scores", fmt::to_string(scores.size()),
                    fmt::format("{} for {} jets and the outputs {}", jets * std::ssize(outputs), jets,
                                fmt::join(outputs, ", ")));
}

features::Card inputs_only(features::Card card) {
  card.observers.clear();
  card.select.clear();
  card.split_by.clear();
  card.sample_weight.clear();
  card.class_weights.clear();
  card.balanced_classes = false;
  card.weight_factor.reset();
  card.drop_not_finite = false;
  card.label.clear();
  card.classes.clear();
  card.signal.clear();
  return card;
}

bool counts_particles(const features::Card& card) {
  return features::has_ragged_rows(card) || !card.layout.counts.empty();
}

features::RawRanges read_ranges(const std::map<std::string, std::string>& metadata,
                                const std::string& origin) {
  const auto found = metadata.find(features::kRangesKey);
  if (found == metadata.end()) return {};
  try {
    return features::parse_ranges(found->second);
  } catch (Error& error) {
    error.add_context(origin);
    throw;
  }
}

std::vector<InputColumn> describe_columns(const features::Card& card, const std::vector<std::string>& names,
                                          const features::RawRanges& ranges) {
  std::vector<InputColumn> columns;
  for (const std::string& name : names) {
    InputColumn column{.name = name, .of_particles = name.starts_with(kParticlePrefix)};
    for (const features::ReadSource& source : card.sources) {
      if (source.per_particle != column.of_particles) continue;
      if (const std::string* unit = unit_in(source, std::string(without_prefix(column)))) column.unit = *unit;
    }
    if (const auto seen = ranges.columns.find(name); seen != ranges.columns.end())
      column.range = seen->second;
    columns.push_back(std::move(column));
  }
  return columns;
}

RawRows::RawRows(const std::vector<InputColumn>& needed, const RawJets& jets, bool counted)
    : needed_(needed), jets_(jets) {
  require_layout(counted);
  for (const InputColumn& column : needed) require_length(find(column), column.of_particles);
}

const RawColumn& RawRows::find(const InputColumn& column) const {
  const auto found = std::ranges::find(jets_.columns, std::string_view(column.name), &RawColumn::name);
  if (found == jets_.columns.end()) {
    std::vector<std::string_view> needed, given;
    for (const InputColumn& each : needed_) needed.emplace_back(each.name);
    for (const RawColumn& each : jets_.columns) given.push_back(each.name);
    throw ConfigError(fmt::format("the network needs the column '{}': give {}; given were {}", column.name,
                                  fmt::join(needed, ", "),
                                  given.empty() ? "none" : fmt::format("{}", fmt::join(given, ", "))));
  }
  if (!found->unit.empty() && found->unit != column.unit)
    throw ConfigError(fmt::format("unit of the column '{}'", column.name), found->unit,
                      column.unit.empty() ? "none: the card of the network gives it none"
                                          : fmt::format("{}, as in the files of the training", column.unit));
  return *found;
}

void RawRows::require_layout(bool counted) const {
  if (jets_.count < 0) throw ConfigError("count of jets", fmt::to_string(jets_.count), "0 or more");
  const auto count = static_cast<std::size_t>(jets_.count);
  if (jets_.slots < 0) throw ConfigError("slots of jets", fmt::to_string(jets_.slots), "0 or more");
  if (!jets_.counts.empty()) {
    if (jets_.counts.size() != count)
      throw ConfigError("counts of jets", fmt::format("{} numbers", jets_.counts.size()),
                        fmt::format("{}, one per jet", count));
    for (const std::int64_t taken : jets_.counts)
      if (taken < 0 || taken > jets_.slots)
        throw ConfigError("counts of jets", fmt::to_string(taken), fmt::format("0 to {} slots", jets_.slots));
  }
  if (counted && jets_.count > 0 && jets_.counts.empty() && jets_.row_splits.empty())
    throw ConfigError(
        "the card of the network has no mask that would tell particles from padding: give the jets row_splits, or counts");
  const auto& splits = jets_.row_splits;
  if (splits.empty()) return;
  if (!jets_.counts.empty()) throw ConfigError("ragged jets have row splits or counts, not both");
  if (splits.size() != count + 1 || splits.front() != 0 || !std::ranges::is_sorted(splits))
    throw ConfigError("row splits of jets", fmt::format("{} numbers", splits.size()),
                      fmt::format("{} ascending numbers, the first of them 0", count + 1));
}

/// Compared in floating point of 64 digits: products of strides need not fit an integer.
void RawRows::require_length(const RawColumn& column, bool of_particles) const {
  const auto name = [&] { return fmt::format("column '{}'", column.name); };  // costs memory
  if (!column.values.empty() && !column.doubles.empty())
    throw ConfigError(name() + ": give float or double values, not both");
  if (column.particle_stride < 1 || column.jet_stride < 0)
    throw ConfigError(name(), fmt::format("strides {} and {}", column.jet_stride, column.particle_stride),
                      "a particle stride of at least 1, and 0 or more between jets");
  const std::int64_t slots = of_particles ? jets_.slots : 1;
  const bool ragged = of_particles && !jets_.row_splits.empty();
  if (ragged ? jets_.row_splits.back() == 0 : jets_.count == 0 || slots == 0) return;
  using Wide = long double;
  const Wide step = column.particle_stride;
  const Wide between = column.jet_stride > 0 ? Wide(column.jet_stride) : Wide(slots) * step;
  const Wide last = ragged ? Wide(jets_.row_splits.back() - 1) * step
                           : Wide(jets_.count - 1) * between + Wide(slots - 1) * step;
  if (last < Wide(size_of(column))) return;
  throw ConfigError(name(), fmt::format("{} values", size_of(column)),
                    fmt::format("{:.0f}, which {} jets and its strides reach", last + 1, jets_.count));
}

std::size_t RawRows::bytes_of(std::int64_t jet) const noexcept {
  const auto j = static_cast<std::size_t>(jet);
  const std::int64_t slots =
      jets_.row_splits.empty() ? jets_.slots : jets_.row_splits[j + 1] - jets_.row_splits[j];
  std::size_t bytes = 0;
  for (const InputColumn& column : needed_)
    bytes += column.of_particles ? static_cast<std::size_t>(slots) * sizeof(float) : sizeof(double);
  return bytes;
}

void RawRows::copy(RawJets::Range range, features::RawColumns& raw) const {
  raw.rows = range.number;
  raw.slots = jets_.slots;
  raw.first_row = range.first;
  raw.file = "jets";
  const auto first = static_cast<std::size_t>(range.first), number = static_cast<std::size_t>(range.number);
  raw.counts.clear();
  if (!jets_.counts.empty()) {
    const auto counts = jets_.counts.subspan(first, number);
    raw.counts.assign(counts.begin(), counts.end());
  }
  raw.row_splits.clear();
  if (!jets_.row_splits.empty())
    for (const std::int64_t split : jets_.row_splits.subspan(first, number + 1))
      raw.row_splits.push_back(split - jets_.row_splits[first]);
  for (const InputColumn& column : needed_) {
    const RawColumn& found = find(column);
    const auto place = without_prefix(column);
    if (column.of_particles) {
      auto entry = raw.particle.find(place);
      if (entry == raw.particle.end()) entry = raw.particle.emplace(place, std::vector<float>()).first;
      copy_particles(found, range, entry->second);
    } else {
      auto entry = raw.jet.find(place);
      if (entry == raw.jet.end()) entry = raw.jet.emplace(place, std::vector<double>()).first;
      copy_jets(found, range, entry->second);
    }
  }
}

void RawRows::copy_jets(const RawColumn& column, RawJets::Range range, std::vector<double>& values) const {
  resize_exactly(values, range.number);
  const std::int64_t stride = jet_stride(column, 1), begin = range.first * stride;
  if (column.doubles.empty())
    copy_run(column.values.data() + begin, range.number, stride, values.data());
  else
    copy_run(column.doubles.data() + begin, range.number, stride, values.data());
}

void RawRows::copy_particles(const RawColumn& column, RawJets::Range range,
                             std::vector<float>& values) const {
  const auto copy_slots = [&](std::int64_t begin, std::int64_t count, float* to) {
    if (column.doubles.empty())
      copy_run(column.values.data() + begin, count, column.particle_stride, to);
    else
      copy_run(column.doubles.data() + begin, count, column.particle_stride, to);
  };
  if (!jets_.row_splits.empty()) {
    const std::int64_t begin = jets_.row_splits[static_cast<std::size_t>(range.first)];
    const std::int64_t count = jets_.row_splits[static_cast<std::size_t>(range.first + range.number)] - begin;
    resize_exactly(values, count);
    copy_slots(begin * column.particle_stride, count, values.data());
    return;
  }
  resize_exactly(values, range.number * jets_.slots);
  const std::int64_t stride = jet_stride(column, jets_.slots);
  for (std::int64_t jet = 0; jet < range.number; ++jet)
    copy_slots((range.first + jet) * stride, jets_.slots, values.data() + jet * jets_.slots);
}

}  // namespace bunchtrain::infer::detail
