// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_gan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
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

double share_of_validation(const train::Session& session, const ShowerGanOptions& options, double of_card) {
  session.use("valid-fraction");
  const double fraction = options.files.valid_fraction;
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
        "the showers of card {} are {}x{}x{}, the {} variant of 3DGAN makes {}x{}x{}: choose {} for "
        "25x25x25, {} for 51x51x25",
        card.name, found[0], found[1], found[2], models::to_string(variant), shape[0], shape[1], shape[2],
        setting("variant", "fixed"), setting("variant", "angle")));
  }
  if (card.image_scale != models::image_scale(variant) || card.image_power != models::image_power(variant))
    throw ConfigError(
        fmt::format("card {} makes images (GeV x {})^{}, the {} variant of 3DGAN works on (GeV x {})^{}: set "
                    "scale and power of "
                    "the card's image accordingly",
                    card.name, card.image_scale, card.image_power, models::to_string(variant),
                    models::image_scale(variant), models::image_power(variant)));
}

data::ShowerDataset open_file_showers(const train::Session& session, const ShowerGanOptions& options,
                                      const std::vector<std::string>& files) {
  for (const char* name : {"card", "hdf5-plugins", "hash-data", "io"}) session.use(name);
  data::ShowerDataset showers({.files = files,
                               .card = options.files.card,
                               .allow_plugins = options.files.hdf5_plugins,
                               .threads = session.threads().loader,
                               .hash_data = options.files.hash_data,
                               .io = options.files.io,
                               .logger = session.logger()});
  require_images(showers, options.variant);
  return showers;
}

data::DatasetSplit open_files(const train::Session& session, const ShowerGanOptions& options) {
  session.use("valid");
  const data::ShowerDataset showers = open_file_showers(session, options, options.files.data);
  const auto& valid = options.files.valid;
  const data::DatasetSplit split =
      valid.empty() ? showers.split({.valid_fraction =
                                         share_of_validation(session, options, showers.card().valid_fraction),
                                     .seed = session.seed()})
                    : data::DatasetSplit{showers.all(), open_file_showers(session, options, valid).all()};
  data::require_disjoint(*split.train, *split.valid);
  return split;
}

data::DatasetSplit simulate_showers(const train::Session& session, const ShowerGanOptions& options) {
  session.use("showers");
  const auto variant = options.variant;
  const std::int64_t count = options.showers;
  const double share = share_of_validation(session, options, 0.1);
  const auto valid = static_cast<std::int64_t>(share * static_cast<double>(count));
  if (valid < 1 || valid >= count)
    throw ConfigError(
        "showers", fmt::format("{}", count),
        fmt::format("at least {}: a share of {} validates ({}), the rest trains",
                    std::ceil(1 / std::min(share, 1 - share)), share, setting("valid_fraction")));
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

void start_from(const std::string& path, torch::nn::Module& module, models::ShowerVariant variant,
                models::ShowerNetwork network) {
  if (!path.empty()) weights::load_into(module, read_shower_weights(path, variant, network), path);
}

models::ShowerLossWeights loss_weights(const ShowerGanOptions& options) {
  const auto published = models::ShowerLossWeights::published(options.variant);
  return {.generation = options.weight_generation.value_or(published.generation),
          .energy = options.weight_energy.value_or(published.energy),
          .angle = options.weight_angle.value_or(published.angle),
          .sum = options.weight_sum.value_or(published.sum),
          .counts = options.weight_counts.value_or(published.counts)};
}

}  // namespace

void ShowerGanOptions::validate() const {
  if (!(flip >= 0 && flip <= 1)) throw ConfigError("flip", fmt::format("{}", flip), "a share from 0 to 1");
  if (generator_updates < 1)
    throw ConfigError("generator-updates", fmt::format("{}", generator_updates), "at least 1");
}

data::DatasetSplit open_showers(train::Session& session, const ShowerGanOptions& options) {
  for (const char* name : {"data", "variant"}) session.use(name);
  data::DatasetSplit split;
  session.control().together([&] {
    split = options.files.data.empty() ? simulate_showers(session, options) : open_files(session, options);
  });
  return split;
}

ShowerGan create_shower_gan(train::Session& session, const ShowerGanOptions& options) {
  for (const char* name : {"variant", "bin-counts", "dropout", "bin-count-smoothing", "generator-weights",
                           "discriminator-weights"})
    session.use(name);
  const auto variant = options.variant;
  if (options.bin_counts && variant == ShowerVariant::fixed_angle)
    throw ConfigError("bin-counts", "true",
                      setting("variant", "angle") +
                          ": fixed-angle fakes have energies of their own, for which no counts are known");
  ShowerGan gan{.generator = models::ShowerGenerator(
                    models::ShowerGeneratorOptions{.variant = variant, .seed = session.seed()}),
                .discriminator = models::ShowerDiscriminator(
                    models::ShowerDiscriminatorOptions{.variant = variant,
                                                       .dropout = options.dropout,
                                                       .bin_counts = options.bin_counts,
                                                       .bin_count_smoothing = options.bin_count_smoothing,
                                                       .seed = session.seed()})};
  start_from(options.generator_weights, *gan.generator, variant, models::ShowerNetwork::generator);
  start_from(options.discriminator_weights, *gan.discriminator, variant,
             models::ShowerNetwork::discriminator);
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

ShowerGanStepOptions shower_gan_step_options(const train::Session& session, const ShowerGanOptions& options,
                                             const data::Dataset& train) {
  for (const char* name : {"flip", "generator-updates", "theta", "published", "weight-generation",
                           "weight-energy", "weight-angle", "weight-sum", "weight-counts"})
    session.use(name);
  options.validate();
  ShowerGanStepOptions step{.weights = loss_weights(options),
                            .flip_probability = options.flip,
                            .generator_updates = options.generator_updates,
                            .measured_theta = options.measured_theta};
  step.response = options.published ? EnergyResponse::published() : EnergyResponse::fit(train);
  if (options.variant == ShowerVariant::fixed_angle)
    session.logger().info(fmt::format("fakes: {}", step.response->describe()));
  return step;
}

std::map<std::string, std::string> shower_gan_metadata(const train::Session& session,
                                                       const ShowerGanOptions& options,
                                                       const ShowerGanStepOptions& step) {
  ShowerDescription description{.generator = {.variant = options.variant, .seed = session.seed()}};
  if (step.response) description.energies = {step.response->lowest_energy(), step.response->highest_energy()};
  return to_metadata(description);
}

}  // namespace bunchtrain::shower_simulation
