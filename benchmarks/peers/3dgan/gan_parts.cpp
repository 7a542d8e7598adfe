// SPDX-License-Identifier: Apache-2.0
#include "gan_parts.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/rand_like.h>

#include <string>

#include "bunchtrain/weights/module_weights.hpp"

namespace gan_benchmark {

namespace bt = bunchtrain;

namespace {

constexpr bt::optim::RmspropOptions kRmsprop{.learning_rate = 1e-3, .decay = 0.9, .epsilon = 1e-7};

bt::shower_simulation::ShowerGanStepOptions step_options(bt::models::ShowerVariant variant) {
  bt::shower_simulation::ShowerGanStepOptions options{.weights =
                                                          bt::models::ShowerLossWeights::published(variant)};
  if (variant == bt::models::ShowerVariant::fixed_angle)
    options.response = bt::shower_simulation::EnergyResponse::published();
  return options;
}

bt::NamedTensors with_prefix(const bt::NamedTensors& tensors, const std::string& prefix) {
  bt::NamedTensors found;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(prefix)) found.set(name.substr(prefix.size()), tensor);
  return found;
}

/// A network that was made on the CPU, moved; arenas are made where its parameters are.
template <class Net>
Net on_device(Net net, c10::Device device) {
  net->to(device);
  return net;
}

}  // namespace

GanParts::GanParts(bt::models::ShowerVariant variant, double dropout, c10::Device device)
    : generator_(on_device(
          bt::models::ShowerGenerator(bt::models::ShowerGeneratorOptions{.variant = variant}), device)),
      discriminator_(on_device(bt::models::ShowerDiscriminator(bt::models::ShowerDiscriminatorOptions{
                                   .variant = variant, .dropout = dropout}),
                               device)),
      generator_parallel_(generator_, bt::comm::Communicator::self()),
      discriminator_parallel_(discriminator_, bt::comm::Communicator::self()),
      generator_optimizer_(generator_parallel_, kRmsprop),
      discriminator_optimizer_(discriminator_parallel_, kRmsprop),
      step_({generator_, &generator_parallel_, &generator_optimizer_},
            {discriminator_, &discriminator_parallel_, &discriminator_optimizer_}, step_options(variant)) {}

void GanParts::load(const bt::NamedTensors& tensors) {
  bt::weights::load_into(*generator_, with_prefix(tensors, "generator."), "generator");
  bt::weights::load_into(*discriminator_, with_prefix(tensors, "discriminator."), "discriminator");
}

bt::Batch random_batch(bt::models::ShowerVariant variant, std::int64_t size, c10::Device device) {
  const auto [x, y, z] = bt::models::shower_shape(variant);
  const at::Tensor image = at::rand({size, x, y, z});
  bt::Batch batch;
  batch.tensors.set("image", image.mul(at::rand_like(image).lt(0.2)));
  batch.tensors.set("energy", at::rand({size}).mul(90).add(10));
  batch.tensors.set("sum", batch["image"].sum({1, 2, 3}));
  batch.tensors.set("theta", at::rand({size}).add(1.1));
  batch.tensors.set("measured_theta", batch["theta"]);
  for (const auto& [name, tensor] : bt::NamedTensors(batch.tensors))
    batch.tensors.set(name, tensor.to(device));
  batch.sample_ids = at::arange(size);
  batch.global_samples = size;
  return batch;
}

}  // namespace gan_benchmark
