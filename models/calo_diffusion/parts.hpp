// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The layers of calo-diffusion's networks. Images are channels-last, [B, X, Y, Z, C].

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <array>

#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/nn/linear.hpp"
#include "bunchtrain/nn/sample_norm.hpp"
#include "bunchtrain/nn/slab_layers.hpp"

namespace bunchtrain::models::detail {

/// Numbers that condition a denoiser, [B, K]: waves of the noise level, energy, angle and more.
inline constexpr std::int64_t kNoiseWaves = 32;

/// Mean 0 and width 1, and back: buffers that travel with the weights.
struct NormaliserImpl : torch::nn::Module {
  explicit NormaliserImpl(std::int64_t layers);
  void set(const ShowerNormalisation& from);
  at::Tensor layers_of(const at::Tensor& image, const at::Tensor& energy) const;  ///< [B, Z]
  at::Tensor cells_of(const at::Tensor& image) const;                             ///< [B, X, Y, Z]
  at::Tensor to_gev(const at::Tensor& cells, const at::Tensor& layers, const at::Tensor& energy) const;
  at::Tensor log_energy(const at::Tensor& energy) const;  ///< [B]

  at::Tensor layer_mean, layer_width, cell_mean, cell_width, cell_floor, energy_scale;
};
TORCH_MODULE(Normaliser);

/// Two layers with SiLU: [B, in] to [B, out].
struct PerceptronImpl : torch::nn::Module {
  PerceptronImpl(std::int64_t in, std::int64_t hidden, std::int64_t out);
  at::Tensor forward(const at::Tensor& input);
  nn::Linear first = nullptr, second = nullptr, third = nullptr;
};
TORCH_MODULE(Perceptron);

/// Pads the cells and puts the place of each beside it (depth, distance from the axis), then a convolution. Slabs begin and
/// end where blocks of `unit` cells do, which `Shrink` makes one of.
struct StemImpl : torch::nn::Module {
  StemImpl(std::array<std::int64_t, 3> cells, std::array<std::int64_t, 3> padded, std::int64_t unit,
           std::int64_t channels);
  at::Tensor forward(const at::Tensor& cells);
  std::array<std::int64_t, 3> padding;
  at::Tensor place;
  nn::ToSlab slab = nullptr;
  nn::Conv3d convolution = nullptr;
};
TORCH_MODULE(Stem);

/// x + conv(silu(norm(conv(silu(norm(x)))))), each norm over all cells and channels of a sample, scaled and shifted by the
/// condition (Dhariwal and Nichol, 2105.05233).
struct ResidualBlockImpl : torch::nn::Module {
  ResidualBlockImpl(std::int64_t in, std::int64_t out, std::int64_t condition);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& condition);
  nn::SampleNorm first_norm = nullptr, second_norm = nullptr;
  nn::Linear first_scale = nullptr, second_scale = nullptr, shortcut = nullptr;
  nn::Conv3d first = nullptr, second = nullptr;
};
TORCH_MODULE(ResidualBlock);

/// Blocks of 2 x 2 x 2 cells become one: a convolution with stride and kernel 2.
struct ShrinkImpl : torch::nn::Module {
  ShrinkImpl(std::int64_t in, std::int64_t out);
  at::Tensor forward(const at::Tensor& x);
  nn::Linear product = nullptr;
};
TORCH_MODULE(Shrink);

/// The opposite: a transposed convolution with stride and kernel 2.
struct GrowImpl : torch::nn::Module {
  GrowImpl(std::int64_t in, std::int64_t out);
  at::Tensor forward(const at::Tensor& x);
  nn::Linear product = nullptr;
};
TORCH_MODULE(Grow);

/// Between all cells, four heads, with a residual connection. Each rank asks for its slab's cells what all cells have.
struct AttentionImpl : torch::nn::Module {
  explicit AttentionImpl(std::int64_t channels);
  at::Tensor forward(const at::Tensor& x);
  nn::SampleNorm norm = nullptr;
  nn::ToWhole whole = nullptr;
  nn::Linear inputs = nullptr, output = nullptr;
};
TORCH_MODULE(Attention);

/// To one number per cell, without the padding.
struct HeadImpl : torch::nn::Module {
  HeadImpl(std::array<std::int64_t, 3> cells, std::int64_t channels);
  at::Tensor forward(const at::Tensor& x);
  std::array<std::int64_t, 3> cells;
  nn::SampleNorm norm = nullptr;
  nn::ToWhole whole = nullptr;
  nn::Conv3d convolution = nullptr;
};
TORCH_MODULE(Head);

}  // namespace bunchtrain::models::detail
