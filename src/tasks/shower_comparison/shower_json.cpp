// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/tasks/shower_comparison/shower_report.hpp"

namespace bunchtrain::shower_comparison {
namespace {

using metrics::Estimate;
using metrics::ShowerBinResult;
using metrics::ShowerComparison;
using metrics::ShowerHistogram;
using metrics::ShowerSummary;
using Json = nlohmann::ordered_json;

constexpr const char* kMark = "made by";

Json to_json(const Estimate& estimate) { return {{"value", estimate.value}, {"error", estimate.error}}; }

Json to_json(const ShowerSummary& sample) {
  return {{"name", sample.name},
          {"showers", sample.showers},
          {"outside", sample.outside},
          {"empty", sample.empty},
          {"dark", sample.dark},
          {"left_out", sample.left_out},
          {"empty_share", sample.empty_share()},
          {"dark_share", sample.dark_share()},
          {"correlation", sample.correlation}};
}

/// Edges once, contents and errors of both samples. Null if there is none.
Json both(const ShowerHistogram& reference, const ShowerHistogram& candidate, const std::string& unit,
          const std::string& content_unit) {
  if (reference.edges.empty()) return nullptr;
  return {{"unit", unit},
          {"content_unit", content_unit},
          {"edges", reference.edges},
          {"reference", {{"contents", reference.contents}, {"errors", reference.errors}}},
          {"candidate", {{"contents", candidate.contents}, {"errors", candidate.errors}}}};
}

Json quantities_of(const ShowerComparison& comparison) {
  Json list = Json::array();
  for (const metrics::ComparedQuantity& quantity : comparison.quantities) {
    list.push_back({{"bin", quantity.bin},
                    {"name", quantity.name},
                    {"unit", quantity.unit},
                    {"reference", to_json(quantity.reference)},
                    {"candidate", to_json(quantity.candidate)},
                    {"relative", quantity.relative()},
                    {"pull", quantity.pull()}});
  }
  return list;
}

Json to_json(const ShowerComparison& comparison, const ShowerBinResult& reference,
             const ShowerBinResult& candidate) {
  Json profiles = Json::array();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    profiles.push_back(both(reference.profile[axis], candidate.profile[axis],
                            comparison.reference.geometry.labels[axis], "GeV per shower"));
  }
  return {
      {"label", reference.label},
      {"energy_bin", reference.energy_bin},
      {"theta_bin", reference.theta_bin},
      {"reference_showers", reference.showers},
      {"candidate_showers", candidate.showers},
      {"reference_energy_gev", to_json(reference.energy)},
      {"candidate_energy_gev", to_json(candidate.energy)},
      {"profiles", std::move(profiles)},
      {"cell_spectrum", both(reference.cell_spectrum, candidate.cell_spectrum, "GeV", "cells per shower")},
      {"sampling_fraction",
       both(reference.fraction_histogram, candidate.fraction_histogram, "", "fraction of showers")},
      {"hits", both(reference.hit_histogram, candidate.hit_histogram, "cells", "fraction of showers")},
      {"measured_theta",
       both(reference.theta_histogram, candidate.theta_histogram, "rad", "fraction of showers")}};
}

}  // namespace

bool is_comparison_file(const std::filesystem::path& path) {
  return begins_with_mark(path, "\"bunchtrain validate showers\"");
}

void write_comparison(const std::filesystem::path& path, const ShowerComparison& comparison,
                      const std::vector<std::string>& violations) {
  const ShowerSummary& reference = comparison.reference;
  Json bins = Json::array();
  for (std::size_t i = 0; i < reference.bins.size(); ++i) {
    bins.push_back(to_json(comparison, reference.bins[i], comparison.candidate.bins[i]));
  }
  const Json document = {
      {kMark, "bunchtrain validate showers"},
      {"format", 1},
      {"reference", to_json(reference)},
      {"candidate", to_json(comparison.candidate)},
      {"geometry", {{"description", reference.geometry.describe()}, {"axes", reference.geometry.labels}}},
      {"binning",
       {{"energy_edges_gev", reference.binning.energy_edges},
        {"theta_edges_rad", reference.binning.theta_edges},
        {"hit_threshold_gev", reference.binning.hit_threshold}}},
      {"score",
       {{"total", comparison.score.total()},
        {"moments", comparison.score.moments},
        {"profiles", comparison.score.profiles},
        {"angle", comparison.score.angle}}},
      {"worst_profile", {{"relative", comparison.worst_profile}, {"where", comparison.worst_profile_where}}},
      {"correlated", reference.correlated},
      {"violations", violations},
      {"quantities", quantities_of(comparison)},
      {"bins", std::move(bins)}};
  AtomicFile file(path);
  // Names may come from file names in any encoding: what is not UTF-8 is replaced.
  file.write(document.dump(1, ' ', false, Json::error_handler_t::replace));
  file.commit();
}

}  // namespace bunchtrain::shower_comparison
