// SPDX-License-Identifier: Apache-2.0
#include "element_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "row_splits.hpp"
#include "storage/element_type.hpp"

namespace bunchtrain::data {
namespace {

using features::ElementLayout;
using features::NumberPlace;

/// Who names the datasets: a card, or whoever made a nameless one of a setting.
std::string namer_of(const features::Card& card) {
  return card.name.empty() ? setting("row_splits") : fmt::format("[layout] of card '{}'", card.name);
}

/// One whole number per row of a dataset.
class NumberColumn {
 public:
  NumberColumn(const OpenedFile& file, const NumberPlace& place, const features::Card& card)
      : dataset_(open(file, place, card)), where_(dataset_.where()) {
    const DatasetLayout& layout = dataset_.layout();
    column_ = {.type = {}, .row_bytes = layout.row_bytes(), .offset = 0, .slot_bytes = 0, .slots = 1};
    std::size_t numbers = layout.element_bytes == 0 ? 0 : layout.row_bytes() / layout.element_bytes;
    std::optional<ElementType> type = layout.type;
    if (!place.member.empty()) {
      const CompoundMember* member = layout.find(place.member);
      if (member == nullptr)
        throw DataError(
            fmt::format("{}: has no member '{}', which {} names", where_, place.member, namer_of(card)));
      where_ += fmt::format(", member '{}'", place.member);
      type = member->type;
      column_.offset = member->offset;
      numbers = member->shape.empty() ? numbers : 0;
    }
    if (!type || numbers != 1)
      throw DataError(fmt::format("{}: is {}; {} needs one number per row there: name a dataset of integers",
                                  where_, to_string(layout), namer_of(card)));
    column_.type = *type;
  }

  std::size_t rows() const { return dataset_.layout().rows(); }
  const std::string& where() const noexcept { return where_; }
  StoredDataset release() && { return std::move(dataset_); }

  /// Calls `take` with row and value, in order.
  void read(const std::function<void(std::int64_t row, std::int64_t value)>& take) const {
    std::vector<double> values;
    dataset_.read(0, rows(), [&](std::size_t first, std::size_t count, const std::byte* bytes) {
      values.resize(count);
      widen(column_, bytes, count, values.data());
      for (std::size_t i = 0; i < count; ++i)
        take(static_cast<std::int64_t>(first + i), as_whole(first + i, values[i]));
    });
  }

 private:
  static StoredDataset open(const OpenedFile& file, const NumberPlace& place, const features::Card& card) {
    if (!file.has(place.dataset))
      throw DataError(fmt::format(
          "{}: has no dataset '{}', which {} names; datasets present: {}. Name the "
          "one that says which {}s belong to which {}, or draft a card: {}",
          file.path(), place.dataset, namer_of(card), file.list_names(), features::element_word(card.kind),
          features::sample_word(card.kind), way_to(Advice::draft_card, file.path())));
    return file.open(place.dataset, card.fill_missing);
  }

  std::int64_t as_whole(std::size_t row, double value) const {
    constexpr double kLargest = 9007199254740992;  // beyond it doubles skip numbers
    if (!(std::abs(value) < kLargest) || value != std::nearbyint(value))
      throw DataError(fmt::format("{}: row {} is {}, no whole number that says which rows belong together",
                                  where_, row, value));
    return static_cast<std::int64_t>(value);
  }

  StoredDataset dataset_;
  std::string where_;
  ColumnLayout column_;
};

std::vector<std::int64_t> read_row_splits(const NumberColumn& column) {
  std::vector<std::int64_t> splits;
  splits.reserve(column.rows());
  column.read([&](std::int64_t, std::int64_t value) { splits.push_back(value); });
  if (splits.empty())
    throw DataError(
        fmt::format("{}: is empty; row splits have one number more than there are samples, the "
                    "first of them 0",
                    column.where()));
  try {
    require_row_splits(splits, std::ssize(splits) - 1);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}; write the running sums of the numbers of elements, from 0 on",
                                column.where(), error.message()));
  }
  return splits;
}

std::vector<std::int64_t> read_counts(const NumberColumn& column) {
  std::vector<std::int64_t> counts;
  counts.reserve(column.rows());
  column.read([&](std::int64_t row, std::int64_t value) {
    if (value < 0)
      throw DataError(
          fmt::format("{}: row {} counts {} elements; counts are not negative: write the file again",
                      column.where(), row, value));
    counts.push_back(value);
  });
  return counts;
}

std::vector<std::int64_t> running_sums(const std::vector<std::int64_t>& counts) {
  std::vector<std::int64_t> splits = {0};
  splits.reserve(counts.size() + 1);
  // Beyond any file, so that what is too long is told with the dataset that is too short for it.
  constexpr std::int64_t kMost = std::int64_t{1} << 53;
  for (const std::int64_t count : counts) splits.push_back(std::min(splits.back() + count, kMost));
  return splits;
}

[[noreturn]] void refuse_descent(const NumberColumn& column, std::int64_t row, std::int64_t before,
                                 std::int64_t value, std::string_view wanted) {
  throw DataError(fmt::format("{}: event numbers descend at row {}, from {} to {}: {}", column.where(), row,
                              before, value, wanted));
}

/// An event begins where the number changes. Without a dataset of events none is empty.
std::vector<std::int64_t> group_by_number(const NumberColumn& column) {
  std::vector<std::int64_t> splits;
  std::int64_t before = 0;
  column.read([&](std::int64_t row, std::int64_t value) {
    if (row > 0 && value < before)
      refuse_descent(column, row, before, value, "sort the rows by event, those of one event together");
    if (row == 0 || value != before) splits.push_back(row);
    before = value;
  });
  splits.push_back(static_cast<std::int64_t>(column.rows()));
  return splits;
}

/// The events that the file lists, some of them perhaps without an element.
std::vector<std::int64_t> group_by_list(const NumberColumn& column, const NumberColumn& events) {
  std::vector<std::int64_t> numbers;
  events.read([&](std::int64_t row, std::int64_t value) {
    if (row > 0 && value <= numbers.back())
      refuse_descent(events, row, numbers.back(), value, "each event stands there once, sorted by number");
    numbers.push_back(value);
  });
  std::vector<std::int64_t> counts(numbers.size(), 0);
  std::size_t event = 0;
  std::int64_t before = 0;
  column.read([&](std::int64_t row, std::int64_t value) {
    if (row > 0 && value < before)
      refuse_descent(column, row, before, value, "sort the rows by event, those of one event together");
    before = value;
    while (event < numbers.size() && numbers[event] < value) ++event;
    if (event == numbers.size() || numbers[event] != value)
      throw DataError(
          fmt::format("{}: row {} is of event {}, which is not in {}: add it there, or leave the row out",
                      column.where(), row, value, events.where()));
    ++counts[event];
  });
  return running_sums(counts);
}

ElementRows find_element_rows(const OpenedFile& file, const features::Card& card) {
  const features::LayoutSpec& layout = card.layout;
  ElementRows rows;
  const auto keep = [&](NumberColumn column) { rows.datasets.push_back(std::move(column).release()); };
  if (layout.type == ElementLayout::flat) {
    NumberColumn column(file, layout.event, card);
    rows.origin = column.where();
    if (layout.events.empty()) {
      rows.row_splits = group_by_number(column);
    } else {
      NumberColumn events(file, layout.events, card);
      rows.row_splits = group_by_list(column, events);
      keep(std::move(events));
    }
    keep(std::move(column));
  } else if (!layout.row_splits.empty()) {
    NumberColumn column(file, layout.row_splits, card);
    rows.origin = column.where();
    rows.row_splits = read_row_splits(column);
    keep(std::move(column));
  } else if (!layout.counts.empty()) {
    NumberColumn column(file, layout.counts, card);
    rows.origin = column.where();
    rows.counts = read_counts(column);
    keep(std::move(column));
    if (layout.type == ElementLayout::csr) rows.row_splits = running_sums(std::exchange(rows.counts, {}));
  }
  return rows;
}

/// Elements of a sample are numbered in 32 bits.
void require_samples_that_can_be(const ElementRows& elements) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto& splits = elements.row_splits;
  for (std::size_t i = 1; i < splits.size(); ++i)
    if (splits[i] - splits[i - 1] > kMost)
      throw DataError(
          fmt::format("{}: sample {} has {} elements; one sample has {} at most: cut it in several",
                      elements.origin, i - 1, splits[i] - splits[i - 1], kMost));
}

}  // namespace

void ElementRows::cut(std::size_t first, std::size_t count, features::RawColumns& raw) const {
  raw.row_splits.clear();
  raw.counts.clear();
  for (std::size_t i = first; i < first + count && !counts.empty(); ++i) raw.counts.push_back(counts[i]);
  for (std::size_t i = first; i <= first + count && ragged(); ++i)
    raw.row_splits.push_back(row_splits[i] - row_splits[first]);
}

ElementRows read_element_rows(const OpenedFile& file, const features::Card& card) {
  ElementRows rows = find_element_rows(file, card);
  require_samples_that_can_be(rows);
  return rows;
}

void require_element_rows(const ElementRows& elements, const std::string& where, std::size_t rows) {
  const std::int64_t end = elements.row_splits.back();
  if (static_cast<std::size_t>(end) == rows) return;
  throw DataError(fmt::format("{}: has {} rows, but {} gives samples {} of them; {}", where, rows,
                              elements.origin, end,
                              static_cast<std::size_t>(end) > rows
                                  ? "the file ends early: write it again"
                                  : "rows that belong to no sample would be lost: write the file again"));
}

void require_counts_within(const ElementRows& elements, const std::string& where, std::size_t slots) {
  const auto beyond = std::ranges::find_if(
      elements.counts, [slots](std::int64_t count) { return count > static_cast<std::int64_t>(slots); });
  if (beyond == elements.counts.end()) return;
  throw DataError(
      fmt::format("{}: row {} counts {} elements, but {} has room for {} in each row: write the file with "
                  "more, or the counts of what it holds",
                  elements.origin, beyond - elements.counts.begin(), *beyond, where, slots));
}

}  // namespace bunchtrain::data
