// SPDX-License-Identifier: Apache-2.0
#include "parts.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::models::detail {
namespace {

constexpr double kSmallestShare = 1e-6;
constexpr std::int64_t kHeads = 4;

nn::Linear make_linear(std::int64_t in, std::int64_t out) {
  return nn::Linear(nn::LinearOptions{.in = in, .out = out});
}

nn::Conv3d make_convolution(std::int64_t in, std::int64_t out) {
  return nn::Conv3d(nn::Conv3dOptions{.in_channels = in,
                                      .out_channels = out,
                                      .kernel = {3, 3, 3},
                                      .padding = ops::Padding3::same({3, 3, 3})});
}

/// Of an image [B, X, Y, Z, C]; a batch may be empty, for which no shape can be left to LibTorch.
std::int64_t cells_of(const at::Tensor& image) { return image.size(1) * image.size(2) * image.size(3); }

at::Tensor fourth_root(const at::Tensor& image) { return image.clamp_min(0).sqrt().sqrt(); }

at::Tensor log_share(const at::Tensor& image, const at::Tensor& energy) {
  return (image.sum(at::IntArrayRef({1, 2})) / energy.unsqueeze(1) + kSmallestShare).log();
}

}  // namespace

NormaliserImpl::NormaliserImpl(std::int64_t layers)
    : layer_mean(register_buffer("layer_mean", at::zeros({layers}))),
      layer_width(register_buffer("layer_width", at::ones({layers}))),
      cell_mean(register_buffer("cell_mean", at::zeros({layers}))),
      cell_width(register_buffer("cell_width", at::ones({layers}))),
      cell_floor(register_buffer("cell_floor", at::zeros({layers}))),
      energy_scale(register_buffer("energy_scale", at::stack({at::zeros({}), at::ones({})}))) {}

void NormaliserImpl::set(const ShowerNormalisation& from) {
  layer_mean.copy_(from.layer_mean);
  layer_width.copy_(from.layer_width);
  cell_mean.copy_(from.cell_mean);
  cell_width.copy_(from.cell_width);
  cell_floor.copy_(from.cell_floor);
  energy_scale.select(0, 0).fill_(from.log_energy_mean);
  energy_scale.select(0, 1).fill_(from.log_energy_width);
}

at::Tensor NormaliserImpl::layers_of(const at::Tensor& image, const at::Tensor& energy) const {
  return (log_share(image, energy) - layer_mean) / layer_width;
}

at::Tensor NormaliserImpl::cells_of(const at::Tensor& image) const {
  return (fourth_root(image) - cell_mean) / cell_width;
}

at::Tensor NormaliserImpl::to_gev(const at::Tensor& cells, const at::Tensor& layers,
                                  const at::Tensor& energy) const {
  // What a network says that is hardly trained may lie anywhere: exp would be infinite, and infinite times 0 no number. No
  // layer has more than the primary energy, no cell either.
  const at::Tensor shares = at::exp((layers * layer_width + layer_mean).clamp_max(0)) - kSmallestShare;
  const at::Tensor of_layers = shares.clamp_min(0) * energy.unsqueeze(1);
  const at::Tensor highest = fourth_root(energy).view({-1, 1, 1, 1});
  const at::Tensor root = at::minimum(cells * cell_width + cell_mean, highest);
  const at::Tensor kept = at::where(root < cell_floor, at::zeros_like(root), root).square().square();
  const at::Tensor sums = kept.sum(at::IntArrayRef({1, 2}), /*keepdim=*/true).clamp_min(1e-12);
  return kept / sums * of_layers.unsqueeze(1).unsqueeze(1);
}

at::Tensor NormaliserImpl::log_energy(const at::Tensor& energy) const {
  return (energy.log() - energy_scale.select(0, 0)) / energy_scale.select(0, 1);
}

PerceptronImpl::PerceptronImpl(std::int64_t in, std::int64_t hidden, std::int64_t out)
    : first(register_module("first", make_linear(in, hidden))),
      second(register_module("second", make_linear(hidden, hidden))),
      third(register_module("third", make_linear(hidden, out))) {}

at::Tensor PerceptronImpl::forward(const at::Tensor& input) {
  return third->forward(at::silu(second->forward(at::silu(first->forward(input)))));
}

StemImpl::StemImpl(std::array<std::int64_t, 3> cells, std::array<std::int64_t, 3> padded, std::int64_t unit,
                   std::int64_t channels)
    : padding{padded[0] - cells[0], padded[1] - cells[1], padded[2] - cells[2]},
      slab(register_module("slab",
                           nn::ToSlab(nn::ToSlabOptions{.cells = padded, .units = {unit, unit, unit}}))),
      convolution(register_module("convolution", make_convolution(3, channels))) {
  const auto axis = [&](int i) {
    const double half = static_cast<double>(cells[i] - 1) / 2;
    return (at::arange(padded[i], at::kFloat) - half) / half;
  };
  const at::Tensor x = axis(0).view({-1, 1, 1}), y = axis(1).view({1, -1, 1}), z = axis(2).view({1, 1, -1});
  const at::Tensor radius = (x * x + y * y).sqrt() + at::zeros_like(z);
  place = register_buffer("place", at::stack({z + at::zeros_like(radius), radius}, -1).unsqueeze(0));
}

at::Tensor StemImpl::forward(const at::Tensor& cells) {
  const at::Tensor padded = at::constant_pad_nd(cells, {0, padding[2], 0, padding[1], 0, padding[0]});
  const at::Tensor places = place.to(cells.scalar_type()).expand({cells.size(0), -1, -1, -1, -1});
  return convolution->forward(at::cat({slab->forward(padded.unsqueeze(-1)), slab->forward(places)}, -1));
}

ResidualBlockImpl::ResidualBlockImpl(std::int64_t in, std::int64_t out, std::int64_t condition)
    : first_norm(register_module("first_norm", nn::SampleNorm(nn::SampleNormOptions{}))),
      second_norm(register_module("second_norm", nn::SampleNorm(nn::SampleNormOptions{}))),
      first_scale(register_module("first_scale", make_linear(condition, 2 * in))),
      second_scale(register_module("second_scale", make_linear(condition, 2 * out))),
      first(register_module("first", make_convolution(in, out))),
      second(register_module("second", make_convolution(out, out))) {
  if (in != out) shortcut = register_module("shortcut", make_linear(in, out));
}

at::Tensor ResidualBlockImpl::forward(const at::Tensor& x, const at::Tensor& condition) {
  at::Tensor h = first->forward(first_norm->activate(x, first_scale->forward(condition)));
  h = second->forward(second_norm->activate(h, second_scale->forward(condition)));
  return h + (shortcut ? shortcut->forward(x) : x);
}

ShrinkImpl::ShrinkImpl(std::int64_t in, std::int64_t out)
    : product(register_module("product", make_linear(8 * in, out))) {}

at::Tensor ShrinkImpl::forward(const at::Tensor& x) {
  const std::int64_t b = x.size(0), nx = x.size(1) / 2, ny = x.size(2) / 2, nz = x.size(3) / 2, c = x.size(4);
  return product->forward(
      x.view({b, nx, 2, ny, 2, nz, 2, c}).permute({0, 1, 3, 5, 2, 4, 6, 7}).reshape({b, nx, ny, nz, 8 * c}));
}

GrowImpl::GrowImpl(std::int64_t in, std::int64_t out)
    : product(register_module("product", make_linear(in, 8 * out))) {}

at::Tensor GrowImpl::forward(const at::Tensor& x) {
  const std::int64_t b = x.size(0), nx = x.size(1), ny = x.size(2), nz = x.size(3);
  const at::Tensor blocks = product->forward(x);
  const std::int64_t channels = blocks.size(4) / 8;
  const at::Tensor cells = blocks.view({b, nx, ny, nz, 2, 2, 2, channels});
  return cells.permute({0, 1, 4, 2, 5, 3, 6, 7}).reshape({b, 2 * nx, 2 * ny, 2 * nz, channels});
}

AttentionImpl::AttentionImpl(std::int64_t channels)
    : norm(register_module("norm", nn::SampleNorm(nn::SampleNormOptions{}))),
      whole(register_module("whole", nn::ToWhole())),
      inputs(register_module("inputs", make_linear(channels, 3 * channels))),
      output(register_module("output", make_linear(channels, channels))) {}

at::Tensor AttentionImpl::forward(const at::Tensor& x) {
  const std::int64_t b = x.size(0), c = x.size(4);
  const at::Tensor all = inputs->forward(norm->forward(x));
  const auto of_heads = [&](const at::Tensor& cells) {  // [B, heads, cells, C / heads]
    return cells.reshape({b, cells_of(cells), kHeads, c / kHeads}).transpose(1, 2);
  };
  const auto known = whole->forward(all.narrow(-1, c, 2 * c)).chunk(2, -1);
  const at::Tensor mixed = at::scaled_dot_product_attention(of_heads(all.narrow(-1, 0, c)),
                                                            of_heads(known[0]), of_heads(known[1]));
  return x + output->forward(mixed.transpose(1, 2).reshape({b, cells_of(x), c})).view(x.sizes());
}

HeadImpl::HeadImpl(std::array<std::int64_t, 3> of_cells, std::int64_t channels)
    : cells(of_cells),
      norm(register_module("norm", nn::SampleNorm(nn::SampleNormOptions{}))),
      whole(register_module("whole", nn::ToWhole())),
      convolution(register_module("convolution", make_convolution(channels, 1))) {}

at::Tensor HeadImpl::forward(const at::Tensor& x) {
  const at::Tensor image = whole->forward(convolution->forward(norm->activate(x)).squeeze(-1));
  return image.narrow(1, 0, cells[0]).narrow(2, 0, cells[1]).narrow(3, 0, cells[2]);
}

}  // namespace bunchtrain::models::detail

namespace bunchtrain::models {

ShowerNormalisation ShowerNormalisation::fit(const at::Tensor& image, const at::Tensor& energy) {
  const at::Tensor layers = detail::log_share(image, energy);
  const at::Tensor root = detail::fourth_root(image);
  ShowerNormalisation found{.layer_mean = layers.mean(0),
                            .layer_width = layers.std(0).clamp_min(1e-3),
                            .cell_mean = root.mean(at::IntArrayRef({0, 1, 2})),
                            .cell_width = root.std(at::IntArrayRef({0, 1, 2})).clamp_min(1e-4)};
  std::vector<at::Tensor> floors;
  for (std::int64_t z = 0; z < root.size(3); ++z) {
    const at::Tensor hit = root.select(3, z).masked_select(root.select(3, z) > 0);
    const std::int64_t rank = hit.numel() / 100 + 1;  // one hit cell of a hundred is lower
    floors.push_back(hit.numel() > 0 ? std::get<0>(hit.kthvalue(rank)) / 2 : at::ones({}, root.options()));
  }
  found.cell_floor = at::stack(floors);
  const at::Tensor log_energy = energy.to(at::kDouble).log();
  found.log_energy_mean = log_energy.mean().item<double>();
  found.log_energy_width = std::max(log_energy.std().item<double>(), 1e-3);
  return found;
}

}  // namespace bunchtrain::models
