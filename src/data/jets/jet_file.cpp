// SPDX-License-Identifier: Apache-2.0
#include "jet_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "card_columns.hpp"
#include "card_recognition.hpp"
#include "hits/element_rows.hpp"
#include "io/slab.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::size_t kSmallestRange = 64;
constexpr std::size_t kRangeOfUnchunked = 256;
constexpr std::size_t kElementsPerRange = 16384;  // of ragged rows

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_file_class(const ColumnName& column) {
  return !column.per_particle && column.name == features::kFileColumn;
}

}  // namespace

struct JetFile::Impl {
  struct Column {
    std::string name;
    bool per_particle = false;
    bool for_selection = false;
    ColumnLayout layout;
  };
  /// Where the values of a column go: one of the two.
  struct Target {
    const ColumnLayout* layout;
    double* jet = nullptr;
    float* particle = nullptr;
  };
  struct Source {
    StoredDataset dataset;
    std::vector<Column> columns;
    bool for_selection = false;
    bool per_particle = false;

    bool is_in(ColumnSet set) const {
      if (set == ColumnSet::beside_device) return !per_particle;
      return set == ColumnSet::all || for_selection;
    }
    std::vector<Target> targets(std::size_t rows, ColumnSet set, features::RawColumns& raw) const;
  };

  OpenedFile file;
  std::vector<Source> sources;  // by dataset: one that several sources name is read once
  std::size_t rows = 0;
  std::size_t slots = 0;
  ElementRows elements;
  std::optional<std::int64_t> class_value;
  std::vector<MissingColumn> missing;

  Impl(const std::filesystem::path& path, std::optional<std::int64_t> value, const io::Engine* engine)
      : file(path, engine), class_value(value) {}

  /// Left over from another file or set: absent columns mean something (an unlabelled file).
  void drop_foreign_columns(ColumnSet set, features::RawColumns& raw) const;
  bool reads(ColumnSet set, bool per_particle, const std::string& column) const;
  void find(const std::string& full_name, const features::FeaturePipeline& pipeline);
  std::optional<std::size_t> open(const std::string& dataset, bool fill_missing);
  /// Those of the columns, and those of the layout that are none of them.
  std::vector<const StoredDataset*> all_datasets() const;
  /// Rows of a source's dataset that hold `samples`.
  RowSpan rows_of(const Source& source, RowSpan samples) const;
  RowSpans samples_of(const Source& source, const RowSpans& rows_of_source) const;
  void choose_rows(const features::Card& card);
  void check_rows(const features::Card& card);
  void check_slots();
  std::string describe_missing(const std::string& column, const features::Card& card,
                               const std::vector<std::string>& datasets,
                               const std::vector<std::string>& compounds) const;
};

JetFile::JetFile(const std::filesystem::path& path, const features::FeaturePipeline& pipeline,
                 std::optional<std::int64_t> class_value, const io::Engine* engine)
    : impl_(std::make_unique<Impl>(path, class_value, engine)) {
  impl_->elements = read_element_rows(impl_->file, pipeline.card());
  for (const auto& name : pipeline.required_columns()) impl_->find(name, pipeline);
  impl_->choose_rows(pipeline.card());
  impl_->check_rows(pipeline.card());
  impl_->check_slots();
  impl_->file.close();
}

JetFile::~JetFile() = default;
JetFile::JetFile(JetFile&&) noexcept = default;

const std::string& JetFile::path() const noexcept { return impl_->file.path(); }
std::size_t JetFile::rows() const noexcept { return impl_->rows; }
const std::vector<MissingColumn>& JetFile::missing() const noexcept { return impl_->missing; }

std::size_t JetFile::rows_per_range() const noexcept {
  const auto& sources = impl_->sources;
  const auto particles =
      std::find_if(sources.begin(), sources.end(), [](const auto& s) { return s.per_particle; });
  const auto& leading = particles == sources.end() ? sources.front() : *particles;
  const std::size_t chunk = leading.dataset.rows_per_chunk();
  if (impl_->elements.ragged()) {
    const auto all = static_cast<std::size_t>(impl_->elements.row_splits.back());
    const std::size_t usual = std::max<std::size_t>(all / std::max<std::size_t>(impl_->rows, 1), 1);
    return std::clamp<std::size_t>(std::max(kElementsPerRange, chunk) / usual, 1, impl_->rows);
  }
  if (chunk <= 1) return kRangeOfUnchunked;
  return (kSmallestRange + chunk - 1) / chunk * chunk;
}

void JetFile::plan(std::size_t first, std::size_t count, ColumnSet set, ReadPlan& plan) const {
  for (const auto& source : impl_->sources) {
    if (!source.is_in(set)) continue;
    const RowSpan rows = impl_->rows_of(source, {first, count});
    source.dataset.plan(rows.first, rows.count, plan);
  }
}

void JetFile::decode(std::size_t first, std::size_t count, ColumnSet set, PlannedBytes& bytes,
                     features::RawColumns& raw) const {
  raw.rows = static_cast<std::int64_t>(count);
  raw.slots = static_cast<std::int64_t>(impl_->slots);
  raw.first_row = static_cast<std::int64_t>(first);
  raw.file = impl_->file.path();
  impl_->elements.cut(first, count, raw);
  impl_->drop_foreign_columns(set, raw);
  if (impl_->class_value)
    raw.jet[std::string(features::kFileColumn)].assign(count, static_cast<double>(*impl_->class_value));
  for (const auto& source : impl_->sources) {
    if (!source.is_in(set)) continue;
    const RowSpan taken = impl_->rows_of(source, {first, count});
    const auto targets = source.targets(taken.count, set, raw);
    if (taken.count == 0) continue;
    source.dataset.decode(
        taken.first, taken.count, bytes, [&](std::size_t at, std::size_t rows, const std::byte* values) {
          for (const auto& target : targets) {
            if (target.particle != nullptr) {
              widen(*target.layout, values, rows, target.particle + at * target.layout->slots);
            } else {
              widen(*target.layout, values, rows, target.jet + at);
            }
          }
        });
  }
}

std::string JetFile::why_not_on_device() const {
  for (const auto& source : impl_->sources)
    if (source.per_particle)
      if (const std::string why = source.dataset.why_not_plain(); !why.empty())
        return fmt::format("{}: {}", source.dataset.layout().name, why);
  return {};
}

// Each dataset's rows lie one after another behind what was planned before: as they are stored, or where they are put together,
// which is behind all that is stored.
void JetFile::plan_on_device(std::size_t first, std::size_t count, DevicePlan& plan) const {
  std::vector<std::uint64_t> begins;
  std::vector<bool> apart;
  for (const auto& source : impl_->sources) {
    if (!source.per_particle) continue;
    const std::uint64_t stored = plan.to_device.bytes(), together = plan.put_together_bytes();
    const std::size_t blocks = plan.shuffled.size();
    const RowSpan rows = impl_->rows_of(source, {first, count});
    source.dataset.plan_as_stored(rows.first, rows.count, plan.to_device, plan.shuffled);
    apart.push_back(plan.shuffled.size() > blocks);
    begins.push_back(apart.back() ? together : stored);
  }
  std::size_t which = 0;
  for (const auto& source : impl_->sources) {
    if (!source.per_particle) continue;
    const std::uint64_t begin = begins[which] + (apart[which] ? plan.to_device.bytes() : 0);
    ++which;
    for (const auto& column : source.columns)
      plan.columns.push_back({.name = column.name,
                              .per_particle = column.per_particle,
                              .stored = as_stored(column.layout),
                              .begin = begin});
  }
}

void JetFile::read(std::size_t first, std::size_t count, ColumnSet set, features::RawColumns& raw) const {
  ReadPlan wanted;
  plan(first, count, set, wanted);
  PlannedBytes bytes = io::thread_slab().fetch(wanted);
  decode(first, count, set, bytes, raw);
}

std::vector<std::string> JetFile::paths() const {
  std::vector<std::string> lines;
  for (const StoredDataset* dataset : impl_->all_datasets())
    lines.push_back(fmt::format("{}: {}", dataset->layout().name, dataset->path_text()));
  return lines;
}

RowSpans JetFile::filled_rows() const {
  RowSpans rows;
  for (const auto& source : impl_->sources) {
    const RowSpans absent = impl_->samples_of(source, source.dataset.absent_rows());
    rows.insert(rows.end(), absent.begin(), absent.end());
  }
  return normalised(std::move(rows));
}

std::vector<FileIdentity> JetFile::identities(bool hash_data) const {
  return impl_->file.identities(impl_->all_datasets(), hash_data);
}

std::vector<const StoredDataset*> JetFile::Impl::all_datasets() const {
  std::vector<const StoredDataset*> datasets;
  const auto add = [&datasets](const StoredDataset& dataset) {
    const bool known = std::ranges::any_of(
        datasets, [&](const StoredDataset* other) { return other->layout().name == dataset.layout().name; });
    if (!known) datasets.push_back(&dataset);
  };
  for (const auto& source : sources) add(source.dataset);
  for (const auto& dataset : elements.datasets) add(dataset);
  return datasets;
}

RowSpan JetFile::Impl::rows_of(const Source& source, RowSpan samples) const {
  if (!source.per_particle || !elements.ragged()) return samples;
  const std::int64_t begin = elements.row_splits[samples.first];
  const std::int64_t end = elements.row_splits[samples.first + samples.count];
  return {static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end - begin)};
}

/// The samples that have something in these rows.
RowSpans JetFile::Impl::samples_of(const Source& source, const RowSpans& rows_of_source) const {
  if (!source.per_particle || !elements.ragged()) return rows_of_source;
  const auto& splits = elements.row_splits;
  const auto sample_of = [&splits](std::uint64_t row) {
    return static_cast<std::uint64_t>(std::ranges::upper_bound(splits, static_cast<std::int64_t>(row)) -
                                      splits.begin() - 1);
  };
  RowSpans samples;
  for (const RowSpan& span : rows_of_source) {
    const std::uint64_t first = sample_of(span.first), last = sample_of(span.first + span.count - 1);
    samples.push_back({first, last - first + 1});
  }
  return samples;
}

std::vector<JetFile::Impl::Target> JetFile::Impl::Source::targets(std::size_t rows, ColumnSet set,
                                                                  features::RawColumns& raw) const {
  std::vector<Target> targets;
  for (const auto& column : columns) {
    if (set == ColumnSet::selection && !column.for_selection) continue;
    Target& target = targets.emplace_back(Target{.layout = &column.layout});
    if (column.per_particle) {
      auto& values = raw.particle[column.name];
      values.resize(rows * column.layout.slots);
      target.particle = values.data();
    } else {
      auto& values = raw.jet[column.name];
      values.resize(rows);
      target.jet = values.data();
    }
  }
  return targets;
}

bool JetFile::Impl::reads(ColumnSet set, bool per_particle, const std::string& name) const {
  for (const auto& source : sources)
    for (const auto& column : source.columns)
      if (column.per_particle == per_particle && column.name == name)
        return set == ColumnSet::selection ? column.for_selection : source.is_in(set);
  return false;
}

void JetFile::Impl::drop_foreign_columns(ColumnSet set, features::RawColumns& raw) const {
  std::erase_if(raw.jet, [&](const auto& entry) { return !reads(set, false, entry.first); });
  std::erase_if(raw.particle, [&](const auto& entry) { return !reads(set, true, entry.first); });
}

void JetFile::Impl::find(const std::string& full_name, const features::FeaturePipeline& pipeline) {
  const ColumnName column = split_name(full_name);
  if (is_file_class(column) && class_value) return;
  std::vector<std::string> absent, compounds;
  for (const auto& source : pipeline.card().sources) {
    if (!may_have(source, column)) continue;
    auto place = place_of_column(source, column.name);
    const auto index = open(place.dataset, pipeline.card().fill_missing);
    if (!index) {
      absent.push_back(place.dataset);
      continue;
    }
    Source& opened = sources[*index];
    // Of elements one behind the other each row is one, with its columns.
    if (elements.ragged()) place.per_particle = false;
    const features::CardKind kind = pipeline.card().kind;
    const auto layout =
        find_column(place, column.name, opened.dataset.layout(), opened.dataset.where(),
                    column.per_particle ? features::element_word(kind) : features::sample_word(kind));
    if (!layout) {
      compounds.push_back(describe_members(opened.dataset.layout(), place, column.name));
      continue;
    }
    const bool selects = contains(pipeline.selection_columns(), full_name);
    opened.columns.push_back({column.name, column.per_particle, selects, *layout});
    opened.for_selection |= selects;
    opened.per_particle |= column.per_particle;
    return;
  }
  const std::string message = describe_missing(features::column_text(pipeline.card().kind, full_name),
                                               pipeline.card(), absent, compounds);
  if (!contains(pipeline.optional_columns(), full_name))
    throw DataError(message + suggest_card(file.file(), file.path(), pipeline.card().name));
  missing.push_back({full_name, message});
}

std::optional<std::size_t> JetFile::Impl::open(const std::string& dataset, bool fill_missing) {
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (sources[i].dataset.layout().name == dataset) return i;
  if (!file.has(dataset)) return std::nullopt;
  sources.push_back({.dataset = file.open(dataset, fill_missing), .columns = {}});
  return sources.size() - 1;
}

std::string JetFile::Impl::describe_missing(const std::string& column, const features::Card& card,
                                            const std::vector<std::string>& datasets,
                                            const std::vector<std::string>& compounds) const {
  const std::string there = fmt::format("datasets present: {}.", file.list_names());
  if (!datasets.empty())
    return fmt::format("{}: has no dataset '{}', from which card '{}' reads {}; {}", file.path(),
                       fmt::join(datasets, "' or '"), card.name, column, there);
  if (!compounds.empty())
    return fmt::format("{}: card '{}' needs the column {}, which is not in {}; {}", file.path(), card.name,
                       column, fmt::join(compounds, ", nor in "), there);
  return fmt::format("{}: card '{}' needs the column {}, which none of its sources has; {}", file.path(),
                     card.name, column, there);
}

void JetFile::Impl::choose_rows(const features::Card& card) {
  std::erase_if(sources, [](const Source& source) { return source.columns.empty(); });
  if (sources.empty())
    throw DataError(fmt::format("{}: card '{}' reads no column of it", file.path(), card.name));
  const StoredDataset& first = sources.front().dataset;
  const bool told = elements.samples() > 0 || elements.ragged();
  rows = told ? elements.samples() : first.layout().rows();
  if (rows == 0)
    throw DataError(fmt::format("{}: is empty (0 rows); leave the file out or write it again",
                                told ? elements.origin : first.where()));
}

void JetFile::Impl::check_rows(const features::Card& card) {
  const std::string_view sample = features::sample_word(card.kind);
  const std::string told =
      elements.datasets.empty()
          ? fmt::format("dataset '{}' has {}", sources.front().dataset.layout().name, rows)
          : fmt::format("{} tells of {} {}s", elements.origin, rows, sample);
  for (const auto& source : sources) {
    const std::string& where = source.dataset.where();
    const std::size_t found = source.dataset.layout().rows();
    if (elements.ragged() && source.per_particle) {
      if (std::ranges::any_of(source.columns, [](const Column& column) { return !column.per_particle; }))
        throw DataError(
            fmt::format("{}: has one row per {}, and card '{}' reads columns of the {} from it, too", where,
                        features::element_word(card.kind), card.name, sample));
      require_element_rows(elements, where, found);
    } else if (found != rows) {
      throw DataError(fmt::format("{}: has {} rows, {}; all datasets of a card need one row per {}", where,
                                  found, told, sample));
    }
  }
}

void JetFile::Impl::check_slots() {
  if (elements.ragged()) return;
  const Source* leading = nullptr;
  for (const auto& source : sources) {
    for (const auto& column : source.columns) {
      if (!column.per_particle) continue;
      if (leading == nullptr) leading = &source;
      if (slots == 0) slots = column.layout.slots;
      if (column.layout.slots != slots)
        throw DataError(fmt::format("{}: holds {} particles per jet in column '{}', dataset '{}' holds {}",
                                    source.dataset.where(), column.layout.slots, column.name,
                                    leading->dataset.layout().name, slots));
    }
  }
  if (leading != nullptr) require_counts_within(elements, leading->dataset.where(), slots);
}

}  // namespace bunchtrain::data
