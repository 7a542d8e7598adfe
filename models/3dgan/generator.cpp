// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/3dgan/generator.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/relu.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "layer_modules.hpp"

namespace bunchtrain::models {

ShowerGeneratorImpl::ShowerGeneratorImpl(ShowerGeneratorOptions options) : options_(options) {
  using nn::KerasInitializer;
  const detail::GeneratorTable& table = detail::generator_table(options_.variant);
  dense_ = register_module("dense", nn::Linear(nn::LinearOptions{.in = latent_size(options_.variant),
                                                                 .out = table.dense_outputs()}));
  slab_ = register_module(
      "slab", nn::ToSlab(nn::ToSlabOptions{.cells = {table.folded[0], table.folded[1], table.folded[2]}}));
  detail::InitialWeights initial("generator", options_.seed);
  initial.fill(dense_->weight, "dense", KerasInitializer::glorot_uniform);

  std::int64_t channels = table.folded[3];
  for (const detail::ShowerLayer& layer : table.layers) {
    const std::string number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(register_module("conv" + number, detail::make_convolution(layer, channels)));
    const bool last = &layer == &table.layers.back();
    initial.fill(convolutions_.back()->weight, "conv" + number,
                 last ? KerasInitializer::glorot_normal : KerasInitializer::he_uniform);
    if (layer.norm == detail::Norm::present)
      norms_.push_back(register_module("bn" + number, detail::make_norm(layer, options_.variant)));
    channels = layer.channels;
  }
  whole_ = register_module("whole", nn::ToWhole());
}

at::Tensor ShowerGeneratorImpl::forward(const at::Tensor& latent) {
  const std::int64_t wanted = latent_size(options_.variant);
  if (!latent.defined() || latent.dim() != 2 || latent.size(1) != wanted) {
    throw ConfigError(
        fmt::format("the generator of variant '{}' expects latent vectors [B, {}]; they are [{}]",
                    to_string(options_.variant), wanted,
                    latent.defined() ? fmt::format("{}", fmt::join(latent.sizes(), ", ")) : "undefined"));
  }
  const detail::GeneratorTable& table = detail::generator_table(options_.variant);
  const auto [x, y, z, channels] = table.folded;
  at::Tensor cells = slab_->forward(dense_->forward(latent).reshape({latent.size(0), x, y, z, channels}));
  for (std::size_t i = 0; i + 1 < convolutions_.size(); ++i) {
    cells = convolutions_[i]->forward(cells);
    cells = table.slope == 0 ? at::relu(cells) : at::leaky_relu(cells, table.slope);
    // The layers without batch norm are the last ones.
    if (i < norms_.size()) cells = norms_[i]->forward(cells);
  }
  const at::Tensor image = at::relu(convolutions_.back()->forward(cells)).squeeze(4);
  return whole_->forward(image).to(latent.scalar_type());
}

NamedTensors ShowerGeneratorImpl::forward(const NamedTensors& inputs) {
  return {{"image", forward(inputs["latent"])}};
}

std::vector<std::string> ShowerGeneratorImpl::input_names() const { return {"latent"}; }

std::string ShowerGeneratorImpl::description() const { return options_.describe().to_json(); }

at::Tensor make_latent(ShowerVariant variant, const at::Tensor& noise, const at::Tensor& energy,
                       const at::Tensor& theta) {
  const std::int64_t size = noise_size(variant);
  if (noise.dim() != 2 || noise.size(1) != size || energy.dim() != 1 || energy.size(0) != noise.size(0)) {
    throw ConfigError(
        fmt::format("latent vectors are made of noise [B, {}] and energies [B]; they are [{}] and [{}]", size,
                    fmt::join(noise.sizes(), ", "), fmt::join(energy.sizes(), ", ")));
  }
  const at::Tensor scaled = (energy / kEnergyUnit).unsqueeze(1).to(noise.options());
  if (variant == ShowerVariant::fixed_angle) return noise * scaled;
  if (!theta.defined() || theta.sizes() != energy.sizes())
    throw ConfigError("latent vectors of variant 'angle' need an angle for each energy, [B] in rad");
  return at::cat({scaled, theta.unsqueeze(1).to(noise.options()), noise}, 1);
}

at::Tensor to_gev(ShowerVariant variant, const at::Tensor& image) {
  if (variant == ShowerVariant::fixed_angle) return image;
  return image.pow(1 / image_power(variant)) / image_scale(variant);
}

}  // namespace bunchtrain::models
