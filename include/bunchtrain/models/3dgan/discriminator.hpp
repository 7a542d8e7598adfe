// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The 3DGAN discriminator: judges a shower image and reads its energy and angle.

#include <torch/nn/module.h>

#include <cstdint>
#include <vector>

#include "bunchtrain/models/3dgan/variant.hpp"
#include "bunchtrain/models/module_holder.hpp"
#include "bunchtrain/nn/average_pool.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/dropout.hpp"
#include "bunchtrain/nn/linear.hpp"
#include "bunchtrain/nn/slab_layers.hpp"

namespace bunchtrain::models {

struct ShowerDiscriminatorOptions {
  ShowerVariant variant = ShowerVariant::fixed_angle;
  double dropout = 0.2;
  bool bin_counts = false;         ///< the extended version: also counts cells per energy bin
  double bin_count_smoothing = 0;  ///< `ops::bin_counts`
  std::uint64_t seed = 1;          ///< of the initial weights
};

/// What the discriminator says of each shower, float32 or wider.
struct ShowerJudgement {
  at::Tensor logit = {};   ///< [B] of being real (Keras' `generation` before its sigmoid)
  at::Tensor energy = {};  ///< [B] primary energy / 100 GeV (`auxiliary`)
  at::Tensor angle = {};   ///< [B] rad, `ops::ecal_angle`; undefined for fixed angle
  at::Tensor sum = {};     ///< [B] `ops::ecal_sum` in the image's unit
  at::Tensor counts = {};  ///< [B, 8] `ops::bin_counts`; undefined unless asked for
};

/// Trainable parameters 73,402 (fixed angle) or 87,354 (variable angle). Parameter names: conv1
/// ... conv4, bn2 ... bn4, generation, auxiliary; the heads see the image flattened channels
/// last, as the Keras original.
class ShowerDiscriminatorImpl : public torch::nn::Module {
 public:
  explicit ShowerDiscriminatorImpl(ShowerDiscriminatorOptions options = {});

  /// @param image [B, X, Y, Z]. @throws ConfigError if the grid is not the variant's.
  ShowerJudgement forward(const at::Tensor& image);
  const ShowerDiscriminatorOptions& options() const noexcept { return options_; }

 private:
  ShowerDiscriminatorOptions options_;
  nn::ToSlab slab_ = nullptr;
  std::vector<nn::Conv3d> convolutions_;
  std::vector<nn::BatchNorm> norms_;
  std::vector<nn::Dropout> dropouts_;
  nn::AveragePool pool_ = nullptr;
  nn::ToWhole whole_ = nullptr;
  nn::Linear generation_ = nullptr;
  nn::Linear auxiliary_ = nullptr;
};
class ShowerDiscriminator : public ModuleHolder<ShowerDiscriminatorImpl, ShowerDiscriminatorOptions> {
 public:
  using ModuleHolder::ModuleHolder;
};

}  // namespace bunchtrain::models
