// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_gan.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "shower_description.hpp"
#include "shower_weights.hpp"
#include "training_showers.hpp"

namespace bunchtrain::shower_simulation {
namespace {

using models::ShowerVariant;

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
  session.use("variant");
  const auto variant = options.variant;
  return open_training_showers(
      session,
      {.files = options.files,
       .require = [variant](const data::ShowerDataset& showers) { require_images(showers, variant); },
       .showers = options.showers,
       .simulated = {.showers = {.cells = models::shower_shape(variant),
                                 .inclined = variant == ShowerVariant::variable_angle},
                     .image_scale = models::image_scale(variant),
                     .image_power = models::image_power(variant)}});
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
