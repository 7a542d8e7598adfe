// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The 3DGAN generator: latent vectors to shower images.

#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/models/3dgan/generator_options.hpp"
#include "bunchtrain/models/module_holder.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/linear.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/nn/slab_layers.hpp"

namespace bunchtrain::models {

/// Trainable parameters 872,808 (fixed angle) or 1,364,983 (variable angle). Dense, then convolutions behind
/// nearest upsamplings, each with its slope and batch norm as the Keras original; the dense output is folded
/// to [x, y, z, channel]. Parameter names: dense, conv1 ..., bn1 ....
class ShowerGeneratorImpl : public torch::nn::Module, public nn::Model {
 public:
  explicit ShowerGeneratorImpl(ShowerGeneratorOptions options = {});

  /// Images [B, X, Y, Z], not negative, in units of `image_scale` and to the power `image_power`.
  /// @param latent [B, L] from `make_latent`. @throws ConfigError if L does not fit the variant.
  at::Tensor forward(const at::Tensor& latent);
  /// The same by name: "latent" to "image".
  NamedTensors forward(const NamedTensors& inputs) override;
  std::vector<std::string> input_names() const override;
  std::string description() const override;
  bool is_capturable() const override { return true; }
  const ShowerGeneratorOptions& options() const noexcept { return options_; }

 private:
  ShowerGeneratorOptions options_;
  nn::Linear dense_ = nullptr;
  nn::ToSlab slab_ = nullptr;
  std::vector<nn::Conv3d> convolutions_;
  std::vector<nn::BatchNorm> norms_;
  nn::ToWhole whole_ = nullptr;
};
class ShowerGenerator : public ModuleHolder<ShowerGeneratorImpl, ShowerGeneratorOptions> {
 public:
  using ModuleHolder::ModuleHolder;
};

/// The latent vectors of showers, [B, L]: noise times energy / 100 GeV (fixed angle), or [energy / 100 GeV,
/// theta, noise] (variable angle).
/// @param noise [B, noise_size], standard normal. @param energy [B] GeV. @param theta [B] rad,
/// undefined for fixed angle.
at::Tensor make_latent(ShowerVariant variant, const at::Tensor& noise, const at::Tensor& energy,
                       const at::Tensor& theta = {});

/// Energies in GeV, [B, X, Y, Z], of images as the generator makes them.
at::Tensor to_gev(ShowerVariant variant, const at::Tensor& image);

}  // namespace bunchtrain::models
