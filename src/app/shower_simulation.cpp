// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/shower_simulation.hpp"

#include <optional>

#include "bunchtrain/core/error.hpp"
#include "training_files.hpp"

namespace bunchtrain::app {
namespace {

using Text = std::string;

bool measured_theta(const Text& text) {
  if (text != "measured" && text != "true") throw ConfigError("theta", text, "measured, true");
  return text == "measured";
}

/// Below 0: as published.
std::optional<double> weight(const config::Options& options, std::string_view name) {
  const auto value = options.get<double>(name);
  return value >= 0 ? std::optional(value) : std::nullopt;
}

}  // namespace

std::vector<config::OptionSpec> shower_gan_specs() {
  return {
      {"variant",
       Text{"fixed"},
       "fixed angle (25x25x25 cells) or variable angle (51x51x25)",
       "",
       {"fixed", "angle"}},
      {"published", false,
       "fixed angle: fakes with the published energies (10-500 GeV) and sums (2 E / 100), not the data's"},
      {"theta", Text{"measured"}, "variable angle: which one is learned", "", {"measured", "true"}},
      {"flip", 0.05, "share of labels that are flipped when the discriminator is trained"},
      {"generator-updates", std::int64_t{2}, "updates of the generator per step"},
      {"dropout", 0.2, "dropout of the discriminator"},
      {"bin-counts", false, "variable angle: the discriminator also compares counts of cells per energy bin"},
      {"bin-count-smoothing", 0.0,
       "relative width of the bins' edges; 0 = steps, as published (no gradient)"},
      {"weight-generation", -1.0, "loss weight of real or fake; below 0 = as published", "X"},
      {"weight-energy", -1.0, "loss weight of the primary energy", "X"},
      {"weight-angle", -1.0, "loss weight of the angle", "X"},
      {"weight-sum", -1.0, "loss weight of the cell sum", "X"},
      {"weight-counts", -1.0, "loss weight of the bin counts", "X"},
      {"showers", std::int64_t{10'000}, "without --data: GFlash showers per epoch, validation included"},
      {"generator-weights", Text{}, "start from these (safetensors or Keras HDF5)", "FILE"},
      {"discriminator-weights", Text{}, "start from these (safetensors or Keras HDF5)", "FILE"}};
}

std::map<std::string, config::OptionValue> shower_gan_defaults() {
  return {{"batch", std::int64_t{128}}, {"reference-batch", std::int64_t{0}}, {"learning-rate", 1e-3},
          {"weight-decay", 0.0},        {"optimizer", Text("rmsprop")},       {"schedule", Text("constant")}};
}

shower_simulation::ShowerGanOptions shower_gan_options(const train::Session& session) {
  const config::Options options = session.options();  // what is read here is used only where the task says so
  return {.files = training_files(options),
          .showers = options.get<std::int64_t>("showers"),
          .variant = models::parse_shower_variant(options.get<Text>("variant")),
          .published = options.get<bool>("published"),
          .measured_theta = measured_theta(options.get<Text>("theta")),
          .flip = options.get<double>("flip"),
          .generator_updates = options.get<std::int64_t>("generator-updates"),
          .dropout = options.get<double>("dropout"),
          .bin_counts = options.get<bool>("bin-counts"),
          .bin_count_smoothing = options.get<double>("bin-count-smoothing"),
          .weight_generation = weight(options, "weight-generation"),
          .weight_energy = weight(options, "weight-energy"),
          .weight_angle = weight(options, "weight-angle"),
          .weight_sum = weight(options, "weight-sum"),
          .weight_counts = weight(options, "weight-counts"),
          .generator_weights = options.get<Text>("generator-weights"),
          .discriminator_weights = options.get<Text>("discriminator-weights")};
}

}  // namespace bunchtrain::app
