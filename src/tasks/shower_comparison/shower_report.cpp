// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_comparison/shower_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/report/table.hpp"
#include "shower_plots.hpp"

namespace bunchtrain::shower_comparison {
namespace {

using metrics::ComparedQuantity;
using metrics::Estimate;
using metrics::ShowerComparison;
using report::Section;

/// "0.02653 ± 0.00012": as many digits as the error deserves.
std::string format_estimate(const Estimate& estimate) {
  if (!(estimate.error > 0)) return fmt::format("{:.4g}", estimate.value);
  const int decimals = std::clamp(1 - static_cast<int>(std::floor(std::log10(estimate.error))), 0, 9);
  return fmt::format("{0:.{2}f} ± {1:.{2}f}", estimate.value, estimate.error, decimals);
}

std::string format_percent(double relative) {
  return std::isfinite(relative) ? fmt::format("{:+.2f} %", 100 * relative) : "-";
}

std::string format_pull(double pull) { return std::isfinite(pull) ? fmt::format("{:+.1f}", pull) : "-"; }

std::string name_with_unit(const ComparedQuantity& quantity) {
  return quantity.unit.empty() ? quantity.name : fmt::format("{} [{}]", quantity.name, quantity.unit);
}

std::vector<std::string> quantity_row(const ComparedQuantity& quantity) {
  return {quantity.bin,
          name_with_unit(quantity),
          format_estimate(quantity.reference),
          format_estimate(quantity.candidate),
          format_percent(quantity.relative()),
          format_pull(quantity.pull())};
}

std::string describe(const metrics::ShowerSummary& sample) {
  std::string text = fmt::format("{} showers", format_integer(sample.showers));
  if (sample.outside > 0) text += fmt::format(", {} outside the bins", format_integer(sample.outside));
  if (sample.empty > 0) text += fmt::format(", {} of them without energy", format_integer(sample.empty));
  if (sample.dark > sample.empty)
    text += fmt::format(", {} dark (no cell above the hit threshold)", format_integer(sample.dark));
  if (sample.left_out > 0)
    text += fmt::format(", {} more left out by the card", format_integer(sample.left_out));
  return text;
}

std::string format_worst_profile(const ShowerComparison& comparison) {
  if (comparison.worst_profile == 0) return "0";
  return fmt::format("{:.4g} ({})", comparison.worst_profile, comparison.worst_profile_where);
}

std::string format_shares(const ShowerComparison& comparison,
                          double (metrics::ShowerSummary::*share)() const noexcept) {
  return fmt::format("{:.3g} %, {:.3g} %", 100 * (comparison.reference.*share)(),
                     100 * (comparison.candidate.*share)());
}

Section score_section(const ShowerComparison& comparison) {
  const auto& score = comparison.score;
  return {
      .title = "Showers against the reference",
      .paragraphs =
          {fmt::format("Reference: {}, {}.", comparison.reference.name, describe(comparison.reference)),
           fmt::format("Candidate: {}, {}.", comparison.candidate.name, describe(comparison.candidate)),
           "Points with errors are the reference, steps the candidate. Errors are statistical; a pull is a "
           "difference in units of its error. The score is the published scalar of 3DGAN, lower is better."},
      .table = {.header = {"Measure", "Value"},
                .rows = {{"Score", fmt::format("{:.4f}", score.total())},
                         {"Part of first and second moments", fmt::format("{:.4f}", score.moments)},
                         {"Part of profiles", fmt::format("{:.4f}", score.profiles)},
                         {"Part of the measured angle", fmt::format("{:.4f}", score.angle)},
                         {"Worst relative difference of a profile bin", format_worst_profile(comparison)},
                         {"Without energy, reference and candidate",
                          format_shares(comparison, &metrics::ShowerSummary::empty_share)},
                         {"Dark: no cell above the hit threshold",
                          format_shares(comparison, &metrics::ShowerSummary::dark_share)}}}};
}

Section quantity_section(const ShowerComparison& comparison) {
  Section section{.title = "Means and moments",
                  .table = {.header = {"Bin", "Quantity", "Reference", "Candidate", "Difference", "Pull"}}};
  for (const ComparedQuantity& quantity : comparison.quantities)
    section.table.rows.push_back(quantity_row(quantity));
  return section;
}

}  // namespace

std::vector<Section> to_sections(const ShowerComparison& comparison,
                                 const std::vector<std::string>& verdict) {
  std::vector<Section> sections = {
      score_section(comparison),
      {.title = "Shower images",
       .paragraphs =
           {"Energy in GeV, seen from two sides. Colours are logarithmic and the same within a pair."},
       .pictures = make_example_pictures(comparison)},
      {.title = "Mean showers", .pictures = make_mean_pictures(comparison)},
      {.title = "Profiles",
       .paragraphs = {"One colour per energy bin. Ratios are drawn where the reference has more than 1 % of "
                      "its largest "
                      "bin."},
       .plots = make_profile_plots(comparison)},
      {.title = "Sampling fraction", .plots = make_fraction_plots(comparison)},
      {.title = "Cell energies", .plots = make_cell_plots(comparison)},
      {.title = "Hit multiplicity",
       .paragraphs = {"One colour per energy bin."},
       .plots = make_hit_plots(comparison)},
      {.title = "Measured angle", .plots = make_theta_plots(comparison)},
      quantity_section(comparison),
      {.title = "Correlations", .pictures = {make_correlation_pictures(comparison)}},
  };
  auto& paragraphs = sections.front().paragraphs;
  paragraphs.insert(paragraphs.begin(), verdict.begin(), verdict.end());
  std::erase_if(sections, [](const Section& section) {
    return section.table.rows.empty() && section.plots.empty() && section.pictures.empty();
  });
  return sections;
}

std::string format_comparison(const ShowerComparison& comparison, BinsShown bins) {
  std::string text =
      fmt::format("reference  {}: {}\ncandidate  {}: {}\n", comparison.reference.name,
                  describe(comparison.reference), comparison.candidate.name, describe(comparison.candidate));
  report::Table table({"bin", "quantity", "reference", "candidate", "difference", "pull"});
  std::string bin;
  for (const ComparedQuantity& quantity : comparison.quantities) {
    if (bins == BinsShown::all_together && quantity.bin != comparison.reference.bins.front().label) continue;
    if (!bin.empty() && quantity.bin != bin) table.add_rule();
    bin = quantity.bin;
    table.add_row(quantity_row(quantity));
  }
  text += table.to_string(report::TableStyle::box, report::output_width());
  const auto& score = comparison.score;
  text += fmt::format(
      "score {:.4f}, lower is better\n  moments {:.4f}, profiles {:.4f}, angle {:.4f}\nworst profile bin: "
      "relative difference {}\n",
      score.total(), score.moments, score.profiles, score.angle, format_worst_profile(comparison));
  return text;
}

}  // namespace bunchtrain::shower_comparison
