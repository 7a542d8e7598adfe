// SPDX-License-Identifier: Apache-2.0
#include "card_columns.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::data {
namespace {

using features::ReadSource;

// The numbers of one element: where they begin, how many there are.
struct Values {
  ElementType type;
  std::size_t offset;
  std::size_t count;
};

[[noreturn]] void refuse(const ReadSource& source, const DatasetLayout& dataset, const std::string& where,
                         std::string_view wanted) {
  const std::string names =
      source.columns.empty() ? "" : fmt::format(" ({})", fmt::join(source.columns, ", "));
  throw DataError(fmt::format(
      "{}: is {}; the card reads {}{} from it. Choose the card of this layout ({}), or write one: {}", where,
      to_string(dataset), wanted, names, setting("card"),
      way_to(Advice::draft_card, where.substr(0, where.rfind(", dataset '")))));
}

std::size_t product(std::span<const std::size_t> extents) {
  return std::accumulate(extents.begin(), extents.end(), std::size_t{1}, std::multiplies<>());
}

Values values_of_member(const ReadSource& source, std::string_view name, const DatasetLayout& dataset,
                        const std::string& where) {
  const CompoundMember* member = dataset.find(name);
  expects(member != nullptr, "members are looked for before");
  if (!member->type) refuse(source, dataset, where, fmt::format("numbers in member '{}'", name));
  return {*member->type, member->offset, product(member->shape)};
}

// Members by their own names: jets[N], tracks[N, slots].
std::optional<ColumnLayout> column_by_member(const ReadSource& source, std::string_view column,
                                             const DatasetLayout& dataset, const std::string& where,
                                             std::string_view row) {
  const auto& names = source.columns;
  if (!names.empty() && std::find(names.begin(), names.end(), column) == names.end()) return std::nullopt;
  if (dataset.find(column) == nullptr) return std::nullopt;
  const Values values = values_of_member(source, column, dataset, where);
  const std::size_t rank = source.per_particle ? 2 : 1;
  if (dataset.shape.size() != rank || values.count != 1)
    refuse(source, dataset, where,
           source.per_particle ? "a compound [jets, particles]" : fmt::format("a compound [{}s]", row));
  return ColumnLayout{.type = values.type,
                      .row_bytes = dataset.row_bytes(),
                      .offset = values.offset,
                      .slot_bytes = dataset.element_bytes,
                      .slots = source.per_particle ? static_cast<std::size_t>(dataset.shape[1]) : 1};
}

struct Slice {
  std::size_t begin, count;
};

Slice slice_of(const ReadSource& source, std::size_t available, const DatasetLayout& dataset,
               const std::string& where) {
  const auto begin = static_cast<std::size_t>(source.slice_begin);
  const std::size_t end = source.slice_end < 0 ? available : static_cast<std::size_t>(source.slice_end);
  if (begin > end || end > available)
    refuse(source, dataset, where, fmt::format("values {} to {} of {}", begin, end, available));
  return {begin, end - begin};
}

// Numbered values [N], [N, columns], [N, slots, columns], or [N, slots * columns] to be folded; of a dataset
// or of a member.
ColumnLayout column_by_number(const ReadSource& source, std::size_t index, const DatasetLayout& dataset,
                              const std::string& where, std::string_view row) {
  Values values{.type = {}, .offset = 0, .count = 1};
  std::vector<std::size_t> axes;  // behind the jets
  if (!source.member.empty()) {
    values = values_of_member(source, source.member, dataset, where);
    axes.assign(dataset.shape.begin() + 1, dataset.shape.end());
    if (const auto& shape = dataset.find(source.member)->shape; !shape.empty()) axes.push_back(values.count);
  } else {
    if (!dataset.type) refuse(source, dataset, where, "numbers");
    values.type = *dataset.type;
    axes.assign(dataset.shape.begin() + 1, dataset.shape.end());
  }
  const std::size_t bytes = values.type.bytes;
  const std::size_t columns = source.columns.size();
  ColumnLayout layout{.type = values.type,
                      .row_bytes = dataset.row_bytes(),
                      .offset = values.offset,
                      .slot_bytes = 0,
                      .slots = 1};

  if (source.per_particle && axes.size() == 2) {
    const Slice slice = slice_of(source, axes[1], dataset, where);
    if (slice.count != columns)
      refuse(source, dataset, where, fmt::format("{} columns per particle", columns));
    layout.slots = axes[0];
    layout.slot_bytes = source.member.empty() ? axes[1] * bytes : dataset.element_bytes;
    layout.offset += (slice.begin + index) * bytes;
    return layout;
  }
  if (axes.size() > 1 || (source.per_particle && axes.empty()))
    refuse(source, dataset, where,
           source.per_particle ? "particles [jets, particles, columns]"
                               : fmt::format("values [{}s, columns]", row));
  const Slice slice = slice_of(source, axes.empty() ? 1 : axes[0], dataset, where);
  const bool fits =
      source.per_particle ? slice.count % columns == 0 && slice.count > 0 : slice.count == columns;
  if (!fits)
    refuse(source, dataset, where,
           fmt::format("{} columns per {}", columns, source.per_particle ? "particle" : row));
  layout.offset += (slice.begin + index) * bytes;
  layout.slots = source.per_particle ? slice.count / columns : 1;
  layout.slot_bytes = columns * bytes;
  return layout;
}

}  // namespace

ColumnName split_name(const std::string& full) {
  const auto dot = full.find('.');
  return {full.substr(0, dot) == "part", full.substr(dot + 1)};
}

bool may_have(const ReadSource& source, const ColumnName& column) {
  const auto& names = source.columns;
  return source.per_particle == column.per_particle &&
         (names.empty() || std::ranges::find(names, column.name) != names.end());
}

ReadSource place_of_column(const ReadSource& source, const std::string& column) {
  if (!source.group) return source;
  ReadSource one = source;
  one.dataset = source.dataset.empty() ? column : source.dataset + "/" + column;
  one.group = false;
  one.columns = {column};
  return one;
}

std::optional<ColumnLayout> find_column(const ReadSource& source, std::string_view column,
                                        const DatasetLayout& dataset, const std::string& where,
                                        std::string_view row) {
  if (dataset.shape.empty()) refuse(source, dataset, where, fmt::format("one row per {}", row));
  if (!dataset.members.empty() && source.member.empty())
    return column_by_member(source, column, dataset, where, row);
  if (!source.member.empty() && dataset.find(source.member) == nullptr) return std::nullopt;
  const auto found = std::find(source.columns.begin(), source.columns.end(), column);
  if (found == source.columns.end()) return std::nullopt;
  return column_by_number(source, static_cast<std::size_t>(found - source.columns.begin()), dataset, where,
                          row);
}

std::string describe_members(const DatasetLayout& dataset, const ReadSource& source,
                             std::string_view column) {
  constexpr std::size_t kShown = 24;
  if (dataset.members.empty()) return fmt::format("dataset '{}' ({})", dataset.name, to_string(dataset));
  std::vector<std::string> names;
  for (const auto& present : dataset.members) names.push_back(present.name);
  const std::string near = nearest(source.member.empty() ? column : source.member, names);
  if (names.size() > kShown) {
    names.resize(kShown);
    names.emplace_back("...");
  }
  return fmt::format("dataset '{}' (members {}{})", dataset.name, fmt::join(names, ", "),
                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

}  // namespace bunchtrain::data
