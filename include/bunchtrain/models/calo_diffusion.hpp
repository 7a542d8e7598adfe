// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A conditional diffusion model of calorimeter showers: a 3-D U-Net that takes noise off.

#include <torch/nn/module.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/models/module_holder.hpp"
#include "bunchtrain/nn/unit.hpp"

namespace bunchtrain::models {

class ModelDescription;

struct CaloDiffusionOptions {
  std::array<std::int64_t, 3> cells = {25, 25, 25};  ///< x, y, z; layers lie along z
  bool inclined = false;                             ///< conditioned on "theta" too
  /// Of each level, the finest first; each level has half the cells of the one before along every axis. Multiples of 8.
  std::vector<std::int64_t> channels = {8, 32, 56};
  std::int64_t blocks = 1;  ///< residual blocks per level, down and up
  bool attention = true;    ///< between all cells of the coarsest level
  std::uint64_t seed = 1;   ///< of the initial weights

  /// "tiny" (0.5 M parameters), "base" (5 M), "large" (50 M). @throws ConfigError with the names allowed
  static CaloDiffusionOptions preset(std::string_view name);
  /// {"model": "calo-diffusion", "cells": [25, 25, 25], "channels": [8, 32, 56], ...}. @throws ConfigError
  static CaloDiffusionOptions from(const ModelDescription& description);
  ModelDescription describe() const;
  /// @throws ConfigError naming the field.
  void validate() const;
};

/// What showers are made of for the network: energies of layers as shares of the primary energy, and cells, both with mean 0
/// and width 1. Cells keep their energy, for what single particles leave in one is the same at any energy of the shower.
/// @param Z layers
struct ShowerNormalisation {
  at::Tensor layer_mean, layer_width;  ///< [Z] float32, of log(share + 1e-6)
  at::Tensor cell_mean, cell_width;    ///< [Z] float32, of (energy / GeV)^(1/4)
  at::Tensor cell_floor =
      {};  ///< [Z] float32, of (energy / GeV)^(1/4): below it a cell that was made is empty
  double log_energy_mean = 0, log_energy_width = 1;

  /// @param image [N, X, Y, Z] GeV @param energy [N] GeV
  static ShowerNormalisation fit(const at::Tensor& image, const at::Tensor& energy);
};

/// Two denoisers trained together: one of the energies of the layers, a perceptron, one of the cells within their layers, a
/// U-Net of residual blocks. Preconditioning, noise levels and loss are those of Karras et al. (2206.00364, table 1, with data
/// of width 1); energies of layers apart from cells, which are scaled to them in the end, and conditioning by energy and position,
/// follow CaloDiffusion (Amram and Pedro, 2308.03876), on a Cartesian grid.
///
/// Batches have "image" [B, X, Y, Z] in GeV, "energy" [B] GeV and, if inclined, "theta" [B] rad. `forward` draws a noise level
/// and noise for each sample by the current `nn::StepContext` (without one by row) and writes "cells" [B, X, Y, Z] and
/// "layers" [B, Z], what the networks say, and "cells_target", "layers_target", what they should say: the loss is the mean
/// square of the difference (`diffusion_objective` of the task).
class CaloDiffusionImpl : public torch::nn::Module, public nn::UnitModel {
 public:
  explicit CaloDiffusionImpl(CaloDiffusionOptions options = {});
  ~CaloDiffusionImpl() override;

  std::vector<std::string> input_names() const override;
  std::vector<std::string> output_names() const override;
  std::vector<nn::Unit> units() override;
  std::string description() const override;
  NamedTensors example_inputs(std::int64_t samples) const override;
  std::int64_t predicted_activation_bytes(std::int64_t samples, std::int64_t entries,
                                          nn::EdgeStorage storage = {}) const override;

  void set_normalisation(const ShowerNormalisation& normalisation);

  /// What is known of the showers that are made. @param energy [B] GeV @param theta [B] rad; undefined unless inclined
  struct Condition {
    at::Tensor energy, theta;
  };
  /// The layers that noise was put on, without it: [B, Z] to [B, Z]. @param sigma [B]
  at::Tensor denoise_layers(const at::Tensor& noisy, const at::Tensor& sigma, const Condition& condition);
  /// The cells that noise was put on, without it: [B, X, Y, Z] to the same. @param layers [B, Z] without noise
  at::Tensor denoise_cells(const at::Tensor& noisy, const at::Tensor& sigma, const at::Tensor& layers,
                           const Condition& condition);
  /// Energies in GeV, [B, X, Y, Z], of what the denoisers made: finite where that is no NaN, for no layer gets more than the
  /// primary energy, whatever a network says that is hardly trained.
  at::Tensor to_gev(const at::Tensor& cells, const at::Tensor& layers, const Condition& condition) const;

  const CaloDiffusionOptions& options() const noexcept { return options_; }

 private:
  struct Parts;
  std::vector<nn::Unit> unet() const;

  CaloDiffusionOptions options_;
  std::unique_ptr<Parts> parts_;
};
class CaloDiffusion : public ModuleHolder<CaloDiffusionImpl, CaloDiffusionOptions> {
 public:
  using ModuleHolder::ModuleHolder;
};

/// How noise is taken off, along the ordinary differential equation of the diffusion.
enum class DiffusionSampler {
  dpm,   ///< DPM-Solver++(2M) of Lu et al., 2211.01095: second order, the network is asked once per step
  ddim,  ///< Euler's steps: Song et al., 2010.02502
  heun,  ///< Karras et al., algorithm 1: second order, the network is asked twice per step
};
std::string_view to_string(DiffusionSampler sampler) noexcept;
DiffusionSampler parse_diffusion_sampler(std::string_view text);

struct DiffusionSamplingOptions {
  DiffusionSampler sampler = DiffusionSampler::dpm;
  std::int64_t steps = 32;
  double lowest_sigma = 0.02, highest_sigma = 80;

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Showers in GeV, [B, X, Y, Z] float32 on the network's device; a function of weights, options and noise. The module must be
/// in evaluation mode.
/// @param layer_noise [B, Z] and @param cell_noise [B, X, Y, Z], standard normal
at::Tensor sample_showers(CaloDiffusionImpl& network, const CaloDiffusionImpl::Condition& condition,
                          const at::Tensor& layer_noise, const at::Tensor& cell_noise,
                          const DiffusionSamplingOptions& options = {});

}  // namespace bunchtrain::models
