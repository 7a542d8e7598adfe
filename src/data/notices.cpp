// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/detail/notices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace bunchtrain::data {
namespace {

// "60 of 120 jets are left out by ...": of the rows of all files.
void add_rows(std::vector<std::string>& lines, const RowCounts& rows, std::string_view samples) {
  const auto add = [&](std::int64_t count, std::string_view what) {
    if (count > 0) lines.push_back(fmt::format("{} of {} {} {}", count, rows.stored, samples, what));
  };
  add(rows.filled, "were never written or lie in a file that is missing: they hold fill values");
  add(rows.not_selected, "are left out by the card's selection");
  add(rows.other_labels, "are left out because their label is of no class");
  add(rows.not_finite, "are left out because of NaN or infinity in label, selection, weight or split key");
  add(rows.empty, "are left out because they hold no energy");
}

void add_particles(std::vector<std::string>& lines, const DatasetSummary& summary, std::string_view samples) {
  if (summary.rows.without_particles == 0) return;
  const std::int64_t all = summary.samples;
  lines.push_back(fmt::format("{}{} of {} {} have no real particle", summary.surveyed < all ? "about " : "",
                              summary.rows.without_particles, all, samples));
}

void add_constants(std::vector<std::string>& lines, const DatasetSummary& summary, std::string_view samples) {
  for (const auto& column : summary.columns)
    if (column.constant)
      lines.push_back(fmt::format(
          "input \"{}\" of {} is {:.6g} in each of the {} entries of {} {} looked at: it "
          "tells the network nothing",
          column.expression, column.tensor, *column.constant, column.count, summary.surveyed, samples));
}

void add_weights(std::vector<std::string>& lines, const DatasetSummary& summary, std::string_view samples) {
  if (summary.negative_weights == 0) return;
  lines.push_back(
      fmt::format("{} of {} {} have a negative weight, {:.1f} % of the sum of magnitudes: their loss "
                  "counts with its sign (docs/cards.md, Weights, says what else can be done)",
                  summary.negative_weights, summary.samples, samples, 100 * summary.negative_weight_share));
}

void add_classes(std::vector<std::string>& lines, const DatasetSummary& summary, std::string_view samples) {
  const auto& counts = summary.class_counts;
  if (summary.classes.size() < 2 || counts.size() != summary.classes.size()) return;
  const std::int64_t labelled = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto present = std::find_if(counts.begin(), counts.end(), [](auto count) { return count > 0; });
  if (labelled == 0 || *present != labelled) return;
  lines.push_back(fmt::format("all {} labelled {} are '{}': there is nothing to tell them from", labelled,
                              samples, summary.classes[static_cast<std::size_t>(present - counts.begin())]));
}

}  // namespace

std::vector<std::string> notices(const DatasetSummary& summary, std::string_view samples) {
  std::vector<std::string> lines;
  add_rows(lines, summary.rows, samples);
  add_particles(lines, summary, samples);
  add_classes(lines, summary, samples);
  add_weights(lines, summary, samples);
  add_constants(lines, summary, samples);
  return lines;
}

}  // namespace bunchtrain::data
