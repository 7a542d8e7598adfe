// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/shower_observables.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/atan.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "tensor_text.hpp"

namespace bunchtrain::ops {
namespace {

/// The angle that the originals give a shower without energy.
constexpr double kEmptyAngle = 100;
/// Keras' epsilon: the least squared distance of a layer's barycentre from that of the image.
constexpr double kLeastSquare = 1e-7;
/// A layer with less of the hottest cell's energy than this counts as empty: its
/// barycentre would be rounding.
constexpr double kLeastLayer = 1e-30;
/// Stands for an empty cell where a logarithm is taken.
constexpr double kLeastEnergy = 1e-30;

void check_image(const at::Tensor& image, double power) {
  if (!image.defined() || image.dim() != 4 || !image.is_floating_point())
    throw ConfigError("shower image", detail::tensor_text(image), "floating-point [B, X, Y, Z]");
  // Above 1 the energies of empty cells would have an infinite slope.
  if (!(power > 0 && power <= 1))
    throw ConfigError("power of a shower image", fmt::to_string(power), "above 0 and at most 1");
}

/// float32 or wider, whatever autocast made of the image.
at::Tensor widened(const at::Tensor& image) {
  return image.scalar_type() == at::kDouble ? image : image.to(at::kFloat);
}

at::Tensor energies(const at::Tensor& image, double power) {
  return power == 1 ? image : image.pow(1 / power);
}

/// Middles of the cells along one axis.
at::Tensor middles(std::int64_t cells, const at::Tensor& like) {
  return at::arange(cells, like.options()) + 0.5;
}

/// numerator / denominator where `defined`, else 0; neither value nor gradient sees the other quotients.
at::Tensor quotient(const at::Tensor& numerator, const at::Tensor& denominator, const at::Tensor& defined) {
  const at::Tensor divisor = at::where(defined, denominator, at::ones_like(denominator));
  return at::where(defined, numerator / divisor, numerator.new_zeros({}));
}

/// What the layers along z hold, each [B, Z].
struct Layers {
  at::Tensor energy;
  at::Tensor x_moment;  ///< energy times cell position
  at::Tensor y_moment;
};

Layers layers_of(const at::Tensor& energy) {
  // Sums, not matrix products: those would be TF32 on a GPU.
  const at::Tensor over_y = energy.sum(2), over_x = energy.sum(1);
  const at::Tensor x = middles(energy.size(1), energy).unsqueeze(1);
  const at::Tensor y = middles(energy.size(2), energy).unsqueeze(1);
  return {.energy = over_y.sum(1), .x_moment = (over_y * x).sum(1), .y_moment = (over_x * y).sum(1)};
}

/// Cells above each edge, summed over the image: [B] for each of the seven edges.
std::vector<at::Tensor> counts_above(const at::Tensor& image, double power, double smoothing) {
  std::vector<at::Tensor> above;
  const at::Tensor logarithm = smoothing > 0 ? image.clamp_min(kLeastEnergy).log() / power : at::Tensor();
  for (const double edge : kBinEdges) {
    // Empty and not empty has no width: that edge is always a step.
    const bool smooth = smoothing > 0 && edge > 0;
    const at::Tensor passed = smooth ? at::sigmoid((logarithm - std::log(edge)) / smoothing)
                                     : (image > std::pow(edge, power)).to(image.scalar_type());
    above.push_back(passed.flatten(1).sum(1));
  }
  return above;
}

}  // namespace

at::Tensor ecal_sum(const at::Tensor& image, double power) {
  check_image(image, power);
  return energies(widened(image), power).flatten(1).sum(1);
}

at::Tensor ecal_angle(const at::Tensor& image, double power) {
  check_image(image, power);
  const at::Tensor cells = widened(image);
  // The angle does not depend on the unit: the hottest cell is 1, so that nothing over- or underflows.
  const at::Tensor hottest = cells.detach().flatten(1).amax(1).view({-1, 1, 1, 1});
  const at::Tensor unit = at::where(hottest > 0, hottest, at::ones_like(hottest));
  const Layers layers = layers_of(energies(cells / unit, power));
  const at::Tensor z = middles(image.size(3), cells);

  const at::Tensor total = layers.energy.sum(1, /*keepdim=*/true);
  const at::Tensor some = total > 0;
  const at::Tensor x_reference = quotient(layers.x_moment.sum(1, true), total, some);
  const at::Tensor y_reference = quotient(layers.y_moment.sum(1, true), total, some);
  const at::Tensor z_reference = quotient((layers.energy * z).sum(1, true), total, some);

  const at::Tensor filled = layers.energy > kLeastLayer;
  const at::Tensor dx = quotient(layers.x_moment, layers.energy, filled) - x_reference;
  const at::Tensor dy = quotient(layers.y_moment, layers.energy, filled) - y_reference;
  const at::Tensor dz = z - z_reference;
  const at::Tensor slope = dy / (dx * dx + dz * dz).clamp_min(kLeastSquare).sqrt();
  const at::Tensor layer_angle = std::numbers::pi / 2 - at::atan(at::where(z < z_reference, -slope, slope));

  const at::Tensor weight = filled.to(cells.scalar_type()) * z;
  const at::Tensor angle = quotient((layer_angle * weight).sum(1), weight.sum(1), some.squeeze(1));
  return at::where(some.squeeze(1), angle, angle.new_full({}, kEmptyAngle));
}

at::Tensor bin_counts(const at::Tensor& image, double power, double smoothing) {
  check_image(image, power);
  if (!(smoothing >= 0)) throw ConfigError("smoothing of bin counts", fmt::to_string(smoothing), "0 or more");
  const at::Tensor cells = widened(image);
  const std::vector<at::Tensor> above = counts_above(cells, power, smoothing);
  std::vector<at::Tensor> bins = {above.front()};
  for (std::size_t edge = 1; edge < above.size(); ++edge) bins.push_back(above[edge] - above[edge - 1]);
  const auto all = static_cast<double>(cells.numel() / std::max<std::int64_t>(cells.size(0), 1));
  bins.push_back(all - above.back());
  return at::stack(bins, 1);
}

}  // namespace bunchtrain::ops
