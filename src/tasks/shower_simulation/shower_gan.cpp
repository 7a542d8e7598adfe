// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_gan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/overlap.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/simulate/gflash.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "shower_description.hpp"
#include "shower_weights.hpp"

namespace bunchtrain::shower_simulation {
namespace {

using models::ShowerVariant;

double share_of_validation(const train::Session& session, double of_card) {
  const double fraction = session.option("valid-fraction");
  if (fraction < 0 || fraction >= 1)
    throw ConfigError("valid-fraction", fmt::format("{}", fraction), "a number from 0 to below 1");
  return fraction > 0 ? fraction : of_card;
}

/// The variant and the data must mean the same by an image.
void require_images(const data::ShowerDataset& showers, ShowerVariant variant) {
  const auto& card = showers.card();
  const auto shape = models::shower_shape(variant);
  if (card.cells.size() != 1 || card.cells.front().shape != shape) {
    const auto& found = card.cells.front().shape;
    throw ConfigError(fmt::format(
        "the showers of card {} are {}x{}x{}, the {} variant of 3DGAN makes {}x{}x{}: choose --variant fixed "
        "for 25x25x25, --variant angle for 51x51x25",
        card.name, found[0], found[1], found[2], models::to_string(variant), shape[0], shape[1], shape[2]));
  }
  if (card.image_scale != models::image_scale(variant) || card.image_power != models::image_power(variant))
    throw ConfigError(
        fmt::format("card {} makes images (GeV x {})^{}, the {} variant of 3DGAN works on (GeV x {})^{}: set "
                    "scale and power of "
                    "the card's image accordingly",
                    card.name, card.image_scale, card.image_power, models::to_string(variant),
                    models::image_scale(variant), models::image_power(variant)));
}

data::ShowerDataset open_file_showers(const train::Session& session, const std::vector<std::string>& files) {
  data::ShowerDataset showers({.files = files,
                               .card = session.option("card"),
                               .allow_plugins = session.option("hdf5-plugins"),
                               .threads = session.threads().loader,
                               .hash_data = session.option("hash-data"),
                               .logger = session.logger()});
  require_images(showers, shower_variant(session));
  return showers;
}

data::DatasetSplit open_files(const train::Session& session, const std::vector<std::string>& files) {
  const data::ShowerDataset showers = open_file_showers(session, files);
  const std::vector<std::string> valid = session.option("valid");
  const data::DatasetSplit split =
      valid.empty()
          ? showers.split({.valid_fraction = share_of_validation(session, showers.card().valid_fraction),
                           .seed = session.seed()})
          : data::DatasetSplit{showers.all(), open_file_showers(session, valid).all()};
  data::require_disjoint(*split.train, *split.valid);
  return split;
}

data::DatasetSplit simulate_showers(const train::Session& session) {
  const auto variant = shower_variant(session);
  const std::int64_t count = session.option("showers");
  const double share = share_of_validation(session, 0.1);
  const auto valid = static_cast<std::int64_t>(share * static_cast<double>(count));
  if (valid < 1 || valid >= count)
    throw ConfigError("showers", fmt::format("{}", count),
                      fmt::format("at least {}: a share of {} validates (--valid-fraction), the rest trains",
                                  std::ceil(1 / std::min(share, 1 - share)), share));
  simulate::GflashDatasetOptions train{.showers = {.cells = models::shower_shape(variant),
                                                   .inclined = variant == ShowerVariant::variable_angle,
                                                   .count = count - valid,
                                                   .seed = session.seed()},
                                       .image_scale = models::image_scale(variant),
                                       .image_power = models::image_power(variant)};
  auto held_out = train;
  held_out.first = count - valid;
  held_out.showers.count = valid;
  return {simulate::make_gflash_dataset(train), simulate::make_gflash_dataset(held_out)};
}

void start_from(const train::Session& session, const std::string& option, torch::nn::Module& module,
                models::ShowerNetwork network) {
  const std::string path = session.option(option);
  if (!path.empty())
    weights::load_into(module, read_shower_weights(path, shower_variant(session), network), path);
}

models::ShowerLossWeights loss_weights(const train::Session& session) {
  auto weights = models::ShowerLossWeights::published(shower_variant(session));
  const auto set = [&](const char* option, double& weight) {
    if (const double given = session.option(option); given >= 0) weight = given;
  };
  set("weight-generation", weights.generation);
  set("weight-energy", weights.energy);
  set("weight-angle", weights.angle);
  set("weight-sum", weights.sum);
  set("weight-counts", weights.counts);
  return weights;
}

}  // namespace

std::vector<config::OptionSpec> shower_gan_options() {
  using Text = std::string;
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
  return {{"batch", std::int64_t{128}},
          {"reference-batch", std::int64_t{0}},
          {"learning-rate", 1e-3},
          {"weight-decay", 0.0},
          {"optimizer", std::string("rmsprop")},
          {"schedule", std::string("constant")}};
}

ShowerVariant shower_variant(const train::Session& session) {
  return models::parse_shower_variant(session.options().get<std::string>("variant"));
}

data::DatasetSplit open_showers(train::Session& session) {
  const std::vector<std::string> files = session.option("data");
  data::DatasetSplit split;
  session.control().together(
      [&] { split = files.empty() ? simulate_showers(session) : open_files(session, files); });
  return split;
}

ShowerGan create_shower_gan(train::Session& session) {
  const auto variant = shower_variant(session);
  const bool bin_counts = session.option("bin-counts");
  if (bin_counts && variant == ShowerVariant::fixed_angle)
    throw ConfigError(
        "bin-counts", "true",
        "--variant angle: fixed-angle fakes have energies of their own, for which no counts are known");
  ShowerGan gan{.generator = models::ShowerGenerator(
                    models::ShowerGeneratorOptions{.variant = variant, .seed = session.seed()}),
                .discriminator = models::ShowerDiscriminator(models::ShowerDiscriminatorOptions{
                    .variant = variant,
                    .dropout = session.option("dropout"),
                    .bin_counts = bin_counts,
                    .bin_count_smoothing = session.option("bin-count-smoothing"),
                    .seed = session.seed()})};
  start_from(session, "generator-weights", *gan.generator, models::ShowerNetwork::generator);
  start_from(session, "discriminator-weights", *gan.discriminator, models::ShowerNetwork::discriminator);
  if (session.precision() == device::Precision::float64) {
    gan.generator->to(at::kDouble);
    gan.discriminator->to(at::kDouble);
  }
  return gan;
}

std::unique_ptr<optim::Optimizer> create_shower_optimizer(const train::Session& session,
                                                          tensor::ParameterArenas& arenas) {
  return train::create_optimizer(session, arenas, {.rmsprop = optim::RmspropOptions::keras2()});
}

ShowerGanStepOptions shower_gan_step_options(const train::Session& session, const data::Dataset& train) {
  const double flip = session.option("flip");
  if (!(flip >= 0 && flip <= 1)) throw ConfigError("flip", fmt::format("{}", flip), "a share from 0 to 1");
  const std::int64_t updates = session.option("generator-updates");
  if (updates < 1) throw ConfigError("generator-updates", fmt::format("{}", updates), "at least 1");
  ShowerGanStepOptions options{.weights = loss_weights(session),
                               .flip_probability = flip,
                               .generator_updates = updates,
                               .measured_theta = session.options().get<std::string>("theta") == "measured"};
  const bool published = session.option("published");
  options.response = published ? EnergyResponse::published() : EnergyResponse::fit(train);
  if (shower_variant(session) == ShowerVariant::fixed_angle)
    session.logger().info(fmt::format("fakes: {}", options.response->describe()));
  return options;
}

std::map<std::string, std::string> shower_gan_metadata(const train::Session& session,
                                                       const ShowerGanStepOptions& options) {
  ShowerDescription description{.generator = {.variant = shower_variant(session), .seed = session.seed()}};
  if (options.response)
    description.energies = {options.response->lowest_energy(), options.response->highest_energy()};
  return to_metadata(description);
}

}  // namespace bunchtrain::shower_simulation
