// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"

#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <fmt/format.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/nn/frozen_parameters.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "bunchtrain/ops/shower_observables.hpp"

namespace bunchtrain::shower_simulation {
namespace {

/// What random numbers are for, within a pass.
constexpr std::uint64_t kNoise = 1, kEnergy = 2, kFlip = 3;
/// The passes of one step; generator updates count on from the last.
constexpr std::uint64_t kReal = 1, kFake = 2, kGenerator = 3;

void add_terms(NamedTensors& terms, std::string_view pass, const models::ShowerLosses& losses) {
  const auto add = [&](std::string_view term, const at::Tensor& value) {
    if (value.defined()) terms.set(fmt::format("{}_{}", pass, term), value);
  };
  add("total", losses.total);
  add("generation", losses.generation);
  add("energy", losses.energy);
  add("angle", losses.angle);
  add("sum", losses.sum);
  add("counts", losses.counts);
}

}  // namespace

ShowerGanStep::ShowerGanStep(TrainedPart<models::ShowerGenerator> generator,
                             TrainedPart<models::ShowerDiscriminator> discriminator,
                             ShowerGanStepOptions options)
    : generator_(std::move(generator)),
      discriminator_(std::move(discriminator)),
      options_(std::move(options)) {
  const auto variant = generator_.network->options().variant;
  expects(variant == discriminator_.network->options().variant,
          "generator and discriminator are of one variant");
  expects(variant == models::ShowerVariant::variable_angle || options_.response.has_value(),
          "the fixed-angle step needs an energy response");
  if (options_.response) options_.response = options_.response->to(generator_.engine->device());
}

/// The step's random numbers, apart for each pass, drawn on the networks' device.
nn::StepContext ShowerGanStep::context_of(std::uint64_t pass) const {
  const auto* step = nn::StepContext::current();
  expects(step != nullptr, "the 3DGAN step runs inside an nn::StepContext, which keys its random numbers");
  return nn::StepContext(mix64(step->seed(), pass), step->step(),
                         step->sample_ids().to(generator_.engine->device(), at::kLong, /*non_blocking=*/true),
                         step->step_in_memory());
}

train::LossTerms ShowerGanStep::operator()(const Batch& batch) {
  const PassCounts counts{batch.size(), batch.global_size()};
  const models::ShowerTargets real = targets_of(batch);
  Fake fake = draw_fake(batch, real, kFake);
  const at::Tensor fakes = generate(fake.latent);

  models::ShowerLosses of_generator, of_real, of_fake;
  {
    const auto context = context_of(kReal);
    models::ShowerTargets targets = real;
    targets.real = labels(real.energy, 1, kReal);
    of_real = train_discriminator(batch["image"], targets, counts);
  }
  {
    const auto context = context_of(kFake);
    fake.targets.real = labels(real.energy, 0, kFake);
    of_fake = train_discriminator(fakes, fake.targets, counts);
  }
  for (std::int64_t update = 0; update < options_.generator_updates; ++update) {
    const std::uint64_t pass = kGenerator + static_cast<std::uint64_t>(update);
    Fake next = draw_fake(batch, real, pass);
    const auto context = context_of(pass);
    next.targets.real = at::ones_like(real.energy);
    of_generator = train_generator(next.latent, next.targets, counts);
  }
  NamedTensors terms;
  add_terms(terms, "generator", of_generator);
  add_terms(terms, "discriminator_real", of_real);
  add_terms(terms, "discriminator_fake", of_fake);
  return terms;
}

models::ShowerLosses ShowerGanStep::train_discriminator(const at::Tensor& image,
                                                        const models::ShowerTargets& targets,
                                                        const PassCounts& counts) {
  const auto losses =
      models::shower_losses(discriminator_.network->forward(image), targets, options_.weights);
  discriminator_.engine->backward(losses.total,
                                  {.samples = counts.samples, .global_samples = counts.global_samples});
  discriminator_.optimizer->step();
  return losses;
}

models::ShowerLosses ShowerGanStep::train_generator(const at::Tensor& latent,
                                                    const models::ShowerTargets& targets,
                                                    const PassCounts& counts) {
  const nn::FrozenParameters frozen(*discriminator_.network);
  const at::Tensor image = generator_.network->forward(latent);
  const auto losses =
      models::shower_losses(discriminator_.network->forward(image), targets, options_.weights);
  generator_.engine->backward(losses.total,
                              {.samples = counts.samples, .global_samples = counts.global_samples});
  generator_.optimizer->step();
  return losses;
}

at::Tensor ShowerGanStep::generate(const at::Tensor& latent) {
  const at::NoGradGuard no_gradients;
  generator_.network->eval();
  const at::Tensor image = generator_.network->forward(latent);
  generator_.network->train();
  return image;
}

models::ShowerTargets ShowerGanStep::targets_of(const Batch& batch) const {
  const auto& judge = discriminator_.network->options();
  models::ShowerTargets targets{.energy = batch["energy"] / models::kEnergyUnit, .sum = batch["sum"]};
  if (judge.variant == models::ShowerVariant::variable_angle)
    targets.angle = batch[options_.measured_theta ? "measured_theta" : "theta"];
  if (judge.bin_counts)
    targets.counts = ops::bin_counts(batch["image"], models::image_power(judge.variant)).clamp_min(1);
  return targets;
}

ShowerGanStep::Fake ShowerGanStep::draw_fake(const Batch& batch, const models::ShowerTargets& of_batch,
                                             std::uint64_t pass) const {
  const auto variant = generator_.network->options().variant;
  const auto context = context_of(pass);
  const at::Tensor& energy = batch["energy"];
  const at::Tensor noise =
      nn::keyed_normal(context, kNoise, models::noise_size(variant)).to(energy.scalar_type());
  if (variant == models::ShowerVariant::variable_angle)
    return {models::make_latent(variant, noise, energy, of_batch.angle), of_batch};

  const at::Tensor drawn =
      options_.response->draw(nn::keyed_uniform(context, kEnergy, 1).squeeze(1)).to(energy.scalar_type());
  return {models::make_latent(variant, noise, drawn),
          {.energy = drawn / models::kEnergyUnit,
           .sum = options_.response->sum(drawn),
           .counts = of_batch.counts}};
}

at::Tensor ShowerGanStep::labels(const at::Tensor& like, double value, std::uint64_t pass) const {
  const auto context = context_of(pass);
  const at::Tensor flipped = nn::keyed_uniform(context, kFlip, 1).squeeze(1) < options_.flip_probability;
  return at::where(flipped, at::full_like(like, 1 - value), at::full_like(like, value));
}

std::string find_collapse(const train::StepEvent& event) {
  constexpr std::int64_t kGraceSteps = 10;
  constexpr double kRounding = 1e-4;
  if (event.step <= kGraceSteps) return {};
  for (const auto& term : event.terms)
    if (term.name == "generator_sum" && std::abs(term.value - 100) < kRounding)
      return fmt::format(
          "the generator has collapsed: its showers are empty (cell-sum loss 100 %). Start again with another {} or a "
          "lower {}",
          setting("seed"), setting("learning_rate"));
  return {};
}

}  // namespace bunchtrain::shower_simulation
