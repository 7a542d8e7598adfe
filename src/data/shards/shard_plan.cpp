// SPDX-License-Identifier: Apache-2.0
#include "shard_plan.hpp"

#include <algorithm>

namespace bunchtrain::data {
namespace {

constexpr std::size_t kMostSegments = 64;  // shards that one axis has open at once

/// Rows behind the others of a buffer; what follows the last of them in the files too is one stretch with it.
void append(std::vector<WantedRows>& wanted, std::uint64_t first, std::uint64_t count) {
  if (count == 0) return;
  const std::uint64_t place = wanted.empty() ? 0 : wanted.back().place + wanted.back().count;
  if (!wanted.empty() && wanted.back().first + wanted.back().count == first)
    wanted.back().count += count;
  else
    wanted.push_back({first, count, place});
}

}  // namespace

ShardPlan::ShardPlan(const RepackSources& sources, const RepackOptions& options)
    : sources_(sources),
      options_(options),
      shuffled_(static_cast<std::uint64_t>(sources.rows(RowAxis::samples)), options.seed.value_or(0)),
      elements_(static_cast<std::size_t>(options.shards), 0) {
  const auto splits = sources_.row_splits();
  for (std::size_t shard = 0; shard < shards() && !splits.empty(); ++shard)
    for (std::int64_t sample = first_of(shard); sample < first_of(shard + 1); ++sample)
      elements_[shard] += splits[source_of(sample) + 1] - splits[source_of(sample)];
}

std::int64_t ShardPlan::first_of(std::size_t shard) const {
  return sources_.rows(RowAxis::samples) * static_cast<std::int64_t>(shard) / options_.shards;
}

std::size_t ShardPlan::source_of(std::int64_t sample) const {
  const auto place = static_cast<std::uint64_t>(sample);
  return static_cast<std::size_t>(options_.seed ? shuffled_(place) : place);
}

std::int64_t ShardPlan::rows(RowAxis axis, std::size_t shard) const {
  return axis == RowAxis::samples ? first_of(shard + 1) - first_of(shard) : elements_[shard];
}

std::vector<std::int64_t> ShardPlan::row_splits(std::size_t shard) const {
  const auto all = sources_.row_splits();
  std::vector<std::int64_t> splits = {0};
  splits.reserve(static_cast<std::size_t>(rows(RowAxis::samples, shard)) + 1);
  for (std::int64_t sample = first_of(shard); sample < first_of(shard + 1); ++sample) {
    const std::size_t source = source_of(sample);
    splits.push_back(splits.back() + all[source + 1] - all[source]);
  }
  return splits;
}

/// Rows of the widest dataset with what tells their places: a stretch for each sample, of elements its split too.
std::int64_t ShardPlan::rows_in_memory(RowAxis axis, std::int64_t unit) const {
  std::int64_t row_bytes = 1, told = sizeof(WantedRows);
  for (const TargetDataset& target : sources_.targets())
    if (target.axis == axis) row_bytes = std::max(row_bytes, static_cast<std::int64_t>(target.row_bytes));
  if (axis == RowAxis::elements) {
    const std::int64_t samples = sources_.rows(RowAxis::samples), elements = sources_.rows(axis);
    told += static_cast<std::int64_t>(sizeof(std::int64_t));
    if (elements > samples) told = (told * samples + elements - 1) / elements;
  }
  return std::max(options_.memory_bytes / (row_bytes + told) / unit * unit, unit);
}

void ShardPlan::cut(RowAxis axis, const std::vector<bool>& finished, std::vector<Window>& windows) const {
  std::int64_t unit = 1;
  for (const TargetDataset& target : sources_.targets())
    if (target.axis == axis) unit = std::max(unit, target.chunk_rows);
  const std::int64_t most = rows_in_memory(axis, unit);
  std::int64_t room = 0;
  for (std::size_t shard = 0; shard < shards(); ++shard) {
    if (finished[shard]) continue;
    for (std::int64_t first = 0; first < rows(axis, shard);) {
      if (room < unit || windows.back().segments.size() == kMostSegments) {
        windows.push_back({axis, {}});
        room = most;
      }
      const std::int64_t count = std::min(rows(axis, shard) - first, room / unit * unit);
      windows.back().segments.push_back({shard, first, count});
      room -= count;
      first += count;
    }
  }
}

// By shard, so that few are open: one is finished when both axes have passed it.
std::vector<Window> ShardPlan::cut(const std::vector<bool>& finished) const {
  std::vector<Window> windows;
  for (const RowAxis axis : kRowAxes) cut(axis, finished, windows);
  std::ranges::stable_sort(windows, {}, [](const Window& window) { return window.segments.front().shard; });
  return windows;
}

void ShardPlan::add_samples(const Segment& segment, std::vector<WantedRows>& wanted) const {
  const std::int64_t first = first_of(segment.shard) + segment.first;
  for (std::int64_t sample = first; sample < first + segment.count; ++sample)
    append(wanted, source_of(sample), 1);
}

void ShardPlan::add_elements(const Segment& segment, std::vector<WantedRows>& wanted) const {
  const auto all = sources_.row_splits();
  const auto splits = row_splits(segment.shard);
  const std::int64_t end = segment.first + segment.count;
  std::int64_t at = segment.first;
  for (auto sample = std::ranges::upper_bound(splits, at) - splits.begin() - 1; at < end; ++sample) {
    const auto i = static_cast<std::size_t>(sample);
    const std::int64_t until = std::min(splits[i + 1], end);
    const std::size_t source = source_of(first_of(segment.shard) + sample);
    append(wanted, static_cast<std::uint64_t>(all[source] + at - splits[i]),
           static_cast<std::uint64_t>(until - at));
    at = until;
  }
}

std::vector<WantedRows> ShardPlan::wanted_by(const Window& window) const {
  std::vector<WantedRows> wanted;
  for (const Segment& segment : window.segments)
    window.axis == RowAxis::samples ? add_samples(segment, wanted) : add_elements(segment, wanted);
  std::ranges::sort(wanted, {}, &WantedRows::first);
  return wanted;
}

}  // namespace bunchtrain::data
