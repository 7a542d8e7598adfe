// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_comparison/validate_showers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numbers>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/ops/shower_observables.hpp"

namespace bunchtrain::shower_comparison {
namespace {

using metrics::ShowerStatistics;

constexpr double kDegree = std::numbers::pi / 180;

/// Files of showers with what is needed to read them.
class Sample {
 public:
  /// @param select whether the card's selection may leave showers out.
  Sample(const ValidateShowersOptions& options, const std::vector<std::string>& files,
         const std::string& card, bool select)
      : options_(options),
        showers_({.files = files,
                  .card = card,
                  .physical = true,
                  .select = select,
                  .allow_plugins = options.allow_plugins,
                  .threads = options.threads,
                  .logger = options.logger}),
        name_(files.size() == 1
                  ? std::filesystem::path(files.front()).filename().string()
                  : fmt::format("{} and {} more", std::filesystem::path(files.front()).filename().string(),
                                files.size() - 1)) {}

  const std::string& name() const noexcept { return name_; }
  const features::ShowerCard& card() const noexcept { return showers_.card(); }
  const data::ShowerOverview& overview() const noexcept { return showers_.overview(); }
  /// What was measured, with what the card's selection left out.
  metrics::ShowerSummary summarise(const ShowerStatistics& statistics) const {
    auto summary = statistics.compute(name_);
    const std::int64_t all = showers_.size(), left_out = showers_.overview().showers - all;
    // With `max_showers` the same part of them as of the showers kept.
    const bool some = options_.max_showers > 0 && options_.max_showers < all;
    summary.left_out = some ? left_out * options_.max_showers / all : left_out;
    return summary;
  }

  /// Calls `visit` with every batch, in stored order, until `max_showers` are through.
  void for_batches(std::string_view what, const ValidateProgress& progress,
                   const std::function<void(const Batch&)>& visit) const {
    const std::int64_t most =
        options_.max_showers > 0 ? std::min(options_.max_showers, showers_.size()) : showers_.size();
    data::DataLoader loader(showers_.all(), {.global_batch = options_.batch,
                                             .shuffle = false,
                                             .threads = options_.threads,
                                             .logger = options_.logger});
    std::int64_t done = 0;
    while (done < most) {
      auto batch = loader.next();
      if (!batch) break;
      if (batch->size() > most - done) shorten(*batch, most - done);
      visit(*batch);
      done += batch->size();
      if (progress) progress(what, done, most);
    }
  }

 private:
  static void shorten(Batch& batch, std::int64_t showers) {
    NamedTensors shorter;
    for (const auto& [name, tensor] : batch.tensors) shorter.set(name, tensor.narrow(0, 0, showers));
    batch.tensors = std::move(shorter);
    batch.sample_ids = batch.sample_ids.narrow(0, 0, showers);
  }

  const ValidateShowersOptions& options_;
  data::ShowerDataset showers_;
  std::string name_;
};

at::Tensor tensor_or_none(const Batch& batch, std::string_view name) {
  const at::Tensor* found = batch.tensors.find(name);
  return found ? *found : at::Tensor();
}

void add_batch(ShowerStatistics& statistics, const Batch& batch) {
  statistics.add(batch["image"], batch["energy"], tensor_or_none(batch, "theta"),
                 tensor_or_none(batch, "measured_theta"));
}

std::vector<double> choose_theta_edges(const ValidateShowersOptions& options, const Sample& reference,
                                       bool candidate_has_angles) {
  if (!options.theta_edges.empty() || !candidate_has_angles || !reference.card().has_angle()) {
    return options.theta_edges;
  }
  constexpr std::int64_t kBins = 3;
  const auto& found = reference.overview();
  if (!(found.lowest_theta > 0)) return {};
  auto edges =
      metrics::ShowerBinning::between(found.lowest_theta / kDegree, found.highest_theta / kDegree, kBins)
          .energy_edges;
  for (double& edge : edges) edge *= kDegree;
  // The conversion to degrees and back must not leave the outermost showers outside.
  edges.front() = std::min(edges.front(), found.lowest_theta);
  edges.back() = std::max(edges.back(), found.highest_theta);
  return edges;
}

metrics::ShowerBinning choose_binning(const ValidateShowersOptions& options, const Sample& reference,
                                      bool candidate_has_angles) {
  const auto& found = reference.overview();
  auto binning =
      metrics::ShowerBinning::between(found.lowest_energy, found.highest_energy, options.energy_bins);
  if (!options.energy_edges.empty()) binning.energy_edges = options.energy_edges;
  binning.theta_edges = choose_theta_edges(options, reference, candidate_has_angles);
  binning.hit_threshold = options.hit_threshold;
  binning.highest_fraction = reference.card().ratio[1];
  binning.validate();
  return binning;
}

void require_same_cells(const std::string& reference, const metrics::CellGeometry& here,
                        const std::string& candidate, const metrics::CellGeometry& there) {
  if (here == there) return;
  throw ConfigError(fmt::format("{} and {} cannot be compared, they have other cells: a {} against a {}",
                                reference, candidate, here.describe(), there.describe()));
}

/// Showers of a generator with the energies and angles of the reference, batch by batch next to it.
metrics::ShowerComparison compare_with_generator(const ValidateShowersOptions& options,
                                                 const Sample& reference, const ValidateProgress& progress) {
  const std::string& path = options.candidate.front();
  if (!options.open_generator)
    throw ConfigError("candidate", path, "HDF5 files of showers: no generator can be opened here");
  const CandidateGenerator generator = options.open_generator(path);
  const bool inclined = generator.needs_theta;
  const auto geometry = geometry_of(reference.card());
  require_same_cells(reference.name(), geometry, path, metrics::CellGeometry::grid(generator.cells));
  if (inclined && !reference.card().has_angle()) {
    throw ConfigError("reference", reference.name(), "showers with angles, which this generator needs");
  }
  const auto binning = choose_binning(options, reference, inclined);
  ShowerStatistics expected(geometry, binning), made(geometry, binning);
  reference.for_batches("showers", progress, [&](const Batch& batch) {
    add_batch(expected, batch);
    const at::Tensor energy = batch["energy"];
    if (!inclined) {
      made.add(generator.make(batch.sample_ids, energy, {}), energy);
      return;
    }
    const at::Tensor& label = batch[options.measured_theta ? "measured_theta" : "theta"];
    const at::Tensor cells = generator.make(batch.sample_ids, energy, label);
    made.add(cells, energy, batch["theta"], ops::ecal_angle(cells));
  });
  return metrics::compare(reference.summarise(expected), made.compute(path));
}

metrics::ShowerComparison compare_with_files(const ValidateShowersOptions& options, const Sample& reference,
                                             const ValidateProgress& progress) {
  // Empty showers are a fault of a candidate, not of its file: no selection may hide them.
  const Sample candidate(options, options.candidate, options.candidate_card, /*select=*/false);
  const auto geometry = geometry_of(reference.card());
  require_same_cells(reference.name(), geometry, candidate.name(), geometry_of(candidate.card()));
  const auto binning = choose_binning(options, reference, candidate.card().has_angle());
  ShowerStatistics expected(geometry, binning), found(geometry, binning);
  reference.for_batches("reference", progress, [&](const Batch& batch) { add_batch(expected, batch); });
  candidate.for_batches("candidate", progress, [&](const Batch& batch) { add_batch(found, batch); });
  return metrics::compare(reference.summarise(expected), candidate.summarise(found));
}

}  // namespace

void ValidateShowersOptions::validate() const {
  const auto at_least = [](std::string_view field, std::int64_t value, std::int64_t least) {
    if (value < least) throw ConfigError(field, fmt::format("{}", value), fmt::format("{} or more", least));
  };
  if (reference.empty()) throw ConfigError("reference", "", "one or more HDF5 files of showers");
  if (candidate.empty())
    throw ConfigError("candidate", "", "HDF5 files of showers, a run folder or a weight file");
  at_least("energy-bins", energy_bins, 1);
  at_least("max-showers", max_showers, 0);
  at_least("batch", batch, 1);
  at_least("threads", threads, 1);
}

metrics::ShowerComparison validate_showers(const ValidateShowersOptions& options,
                                           const ValidateProgress& progress) {
  options.validate();
  const Sample reference(options, options.reference, options.reference_card, /*select=*/true);
  const bool generated = is_generator(options.candidate.front());
  if (generated && options.candidate.size() > 1) {
    throw ConfigError("candidate", options.candidate[1],
                      "one run folder or weight file, or files of showers");
  }
  return generated ? compare_with_generator(options, reference, progress)
                   : compare_with_files(options, reference, progress);
}

bool is_generator(const std::string& path) {
  if (std::filesystem::is_directory(path) || path.ends_with(".safetensors")) return true;
  if (!std::filesystem::is_regular_file(path))
    return false;  // a glob, or a name that the dataset will refuse
  const auto contents = data::list_contents(path);
  return std::any_of(contents.begin(), contents.end(), [](const data::DatasetContents& dataset) {
    return dataset.shape.name.find("kernel") != std::string::npos;
  });
}

metrics::CellGeometry geometry_of(const features::ShowerCard& card) {
  const auto& blocks = card.cells;
  if (card.axes == features::CellAxes::cylindrical) {
    if (blocks.size() != 1) {
      throw ConfigError(fmt::format("card {}: cylinders of several blocks cannot be validated", card.name));
    }
    const auto [layers, angles, rings] = blocks.front().shape;
    return metrics::CellGeometry::cylinder(layers, angles, rings);
  }
  if (blocks.size() == 1) return metrics::CellGeometry::grid(blocks.front().shape);
  std::vector<std::array<std::int64_t, 2>> layers;
  for (const auto& block : blocks) {
    if (block.shape[2] != 1) {
      throw ConfigError(
          fmt::format("card {}: {} has {} cells along z; validation knows several blocks only as single "
                      "layers",
                      card.name, block.dataset, block.shape[2]));
    }
    layers.push_back({block.shape[0], block.shape[1]});
  }
  return metrics::CellGeometry::layers(layers);
}

metrics::ShowerTolerances parse_tolerances(std::string_view text) {
  metrics::ShowerTolerances tolerances;
  const std::array<std::pair<std::string_view, double*>, 8> known = {{{"fraction", &tolerances.fraction},
                                                                      {"profile", &tolerances.profile},
                                                                      {"moments", &tolerances.moments},
                                                                      {"hits", &tolerances.hits},
                                                                      {"theta", &tolerances.theta},
                                                                      {"empty", &tolerances.empty},
                                                                      {"dark", &tolerances.dark},
                                                                      {"score", &tolerances.score}}};
  constexpr std::string_view kAllowed =
      "NAME=NUMBER,... with fraction, profile, moments, hits, theta, empty, dark, score and positive "
      "numbers, such as "
      "fraction=0.05,profile=0.1";
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const std::size_t equals = std::min(entry.find('='), entry.size());
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const auto& name) { return name.first == entry.substr(0, equals); });
    const std::string number(entry.substr(std::min(entry.size(), equals + 1)));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    const bool is_number = !number.empty() && *end == '\0' && std::isfinite(value) && value > 0;
    if (found == known.end() || !is_number) throw ConfigError("tolerance", entry, kAllowed);
    *found->second = value;
  }
  return tolerances;
}

}  // namespace bunchtrain::shower_comparison
