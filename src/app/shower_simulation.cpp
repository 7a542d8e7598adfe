// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/shower_simulation.hpp"

#include "bunchtrain/app/byte_count.hpp"

#include <charconv>
#include <optional>
#include <sstream>

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

/// "16,32,64".
std::vector<std::int64_t> channels_of(const Text& text) {
  std::vector<std::int64_t> channels;
  std::istringstream words(text);
  for (Text word; std::getline(words, word, ',');) {
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), count);
    if (error != std::errc() || end != word.data() + word.size())
      throw ConfigError("channels", text, "whole numbers with commas between them, such as 16,32,64");
    channels.push_back(count);
  }
  return channels;
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

std::vector<config::OptionSpec> shower_diffusion_specs() {
  return {
      {"preset",
       Text{"tiny"},
       "size of the network: 0.5, 5 or 50 million parameters",
       "",
       {"tiny", "base", "large"}},
      {"channels", Text{}, "of each level, the finest first, such as 16,32,64; empty = the preset's",
       "N,N,..."},
      {"attention", true, "between all cells of the coarsest level"},
      {"pipeline-schedule",
       Text{"1f1b"},
       "of the stages of --mesh pipeline=N",
       "",
       {"gpipe", "1f1b", "interleaved", "zb-h1", "zb-v"}},
      {"microbatches", std::int64_t{0}, "of a pass through the stages of a pipeline; 0 = twice its ranks",
       "N"},
      {"activation-bytes", Text{},
       "of a rank, such as 8G: units of the network are computed again in backward until the activations fit; empty = none",
       "BYTES"},
      {"showers", std::int64_t{10'000}, "without --data: GFlash showers per epoch, validation included"},
      {"inclined", false, "without --data: showers at angles, 51x51x25 cells"}};
}

std::map<std::string, config::OptionValue> shower_diffusion_defaults() {
  return {{"batch", std::int64_t{64}},  {"reference-batch", std::int64_t{0}},
          {"learning-rate", 1e-3},      {"optimizer", Text("adamw")},
          {"schedule", Text("cosine")}, {"ema", 0.999},
          {"weight-decay", 0.0},        {"clip-norm", 1.0}};
}

shower_simulation::ShowerDiffusionOptions shower_diffusion_options(const train::Session& session) {
  const config::Options options = session.options();
  return {
      .files = training_files(options),
      .showers = options.get<std::int64_t>("showers"),
      .inclined = options.get<bool>("inclined"),
      .preset = options.get<Text>("preset"),
      .channels = channels_of(options.get<Text>("channels")),
      .attention = options.get<bool>("attention"),
      .schedule = parallel::parse_pipeline_kind(options.get<Text>("pipeline-schedule")),
      .microbatches = options.get<std::int64_t>("microbatches"),
      .activation_bytes = options.get<Text>("activation-bytes").empty()
                              ? 0
                              : parse_byte_count("activation-bytes", options.get<Text>("activation-bytes"))};
}

}  // namespace bunchtrain::app
