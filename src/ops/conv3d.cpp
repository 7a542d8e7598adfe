// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/conv3d.hpp"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/tensordot.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "convolution.hpp"

namespace bunchtrain::ops {
namespace {

std::string describe(at::IntArrayRef sizes) { return fmt::format("[{}]", fmt::join(sizes, ", ")); }

void require_shapes(const at::Tensor& input, const at::Tensor& weight, const Extent3& factor,
                    const Padding3& padding) {
  if (input.dim() != 5 || weight.dim() != 5 || input.size(4) != weight.size(1))
    throw ConfigError(
        fmt::format("conv3d takes an input [B, X, Y, Z, C] and a weight [Cout, C, kx, ky, kz], not {} and {}",
                    describe(input.sizes()), describe(weight.sizes())));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto place = static_cast<std::int64_t>(axis);
    const std::int64_t cells =
        factor[axis] * input.size(1 + place) + padding.before[axis] + padding.after[axis];
    if (factor[axis] < 1 || padding.before[axis] < 0 || padding.after[axis] < 0 ||
        weight.size(2 + place) > cells)
      throw ConfigError(fmt::format("conv3d: a kernel of {} cells does not fit {} padded cells along axis {}",
                                    weight.size(2 + place), cells, axis));
  }
}

/// Zeros around [B, X, Y, Z, C]; negative numbers cut.
at::Tensor pad(const at::Tensor& input, const Extent3& before, const Extent3& after) {
  if (before == Extent3{} && after == Extent3{}) return input;
  return at::constant_pad_nd(input, {0, 0, before[2], after[2], before[1], after[1], before[0], after[0]});
}

/// How one axis of an upsampled convolution falls apart into phases.
struct Phases {
  std::int64_t factor, taps, outputs;  ///< taps of the largest phase; outputs in the fine grid
  std::int64_t before, after;          ///< padding of the small image, negative = cut
  at::Tensor sums;                     ///< [factor, taps, kernel], 1 where a kernel cell counts to a tap

  Phases(std::int64_t cells, std::int64_t kernel, std::int64_t factor, std::int64_t pad_before,
         std::int64_t pad_after, const at::TensorOptions& options);
  std::int64_t steps() const { return (outputs + factor - 1) / factor; }
};

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

Phases::Phases(std::int64_t cells, std::int64_t kernel, std::int64_t f, std::int64_t pad_before,
               std::int64_t pad_after, const at::TensorOptions& options)
    : factor(f), outputs(f * cells + pad_before + pad_after - kernel + 1) {
  const std::int64_t first = floor_divide(-pad_before, factor);
  const std::int64_t last = floor_divide(factor - 1 + kernel - 1 - pad_before, factor);
  taps = last - first + 1;
  before = -first;
  after = steps() - 1 + last - (cells - 1);
  const at::Tensor host = at::zeros({factor, taps, kernel}, at::kDouble);
  auto counts = host.accessor<double, 3>();
  for (std::int64_t phase = 0; phase < factor; ++phase)
    for (std::int64_t cell = 0; cell < kernel; ++cell)
      counts[phase][floor_divide(phase + cell - pad_before, factor) - first][cell] = 1;
  sums = host.to(options);
}

/// [fx fy fz Cout, Cin, taps x, y, z] from [Cout, Cin, kx, ky, kz].
at::Tensor sum_kernels(const at::Tensor& weight, const Phases& x, const Phases& y, const Phases& z) {
  // Sums of weights keep the weights' width, also under autocast.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  at::Tensor sums = weight;
  for (const Phases* axis : {&x, &y, &z}) sums = at::tensordot(sums, axis->sums, {2}, {2});
  return sums.permute({2, 4, 6, 0, 1, 3, 5, 7})
      .reshape({x.factor * y.factor * z.factor * weight.size(0), weight.size(1), x.taps, y.taps, z.taps});
}

}  // namespace

Padding3 Padding3::same(Extent3 kernel) {
  Padding3 padding;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    padding.before[axis] = (kernel[axis] - 1) / 2;
    padding.after[axis] = kernel[axis] - 1 - padding.before[axis];
  }
  return padding;
}

at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                  const Padding3& padding) {
  require_shapes(input, weight, {1, 1, 1}, padding);
  Extent3 symmetric, before, after;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    symmetric[axis] = std::min(padding.before[axis], padding.after[axis]);
    before[axis] = padding.before[axis] - symmetric[axis];
    after[axis] = padding.after[axis] - symmetric[axis];
  }
  return detail::convolve(pad(input, before, after), weight, bias, symmetric);
}

at::Tensor upsampled_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding) {
  require_shapes(input, weight, factor, padding);
  const auto phases = [&](int axis) {
    const auto i = static_cast<std::size_t>(axis);
    return Phases(input.size(1 + axis), weight.size(2 + axis), factor[i], padding.before[i], padding.after[i],
                  weight.options());
  };
  const Phases x = phases(0), y = phases(1), z = phases(2);
  const at::Tensor all_phases = detail::convolve(
      pad(input, {x.before, y.before, z.before}, {x.after, y.after, z.after}), sum_kernels(weight, x, y, z),
      bias.defined() ? bias.repeat(x.factor * y.factor * z.factor) : bias, {0, 0, 0});
  const std::int64_t batch = input.size(0), channels = weight.size(0);
  return all_phases.view({batch, x.steps(), y.steps(), z.steps(), x.factor, y.factor, z.factor, channels})
      .permute({0, 1, 4, 2, 5, 3, 6, 7})
      .reshape({batch, x.steps() * x.factor, y.steps() * y.factor, z.steps() * z.factor, channels})
      .slice(1, 0, x.outputs)
      .slice(2, 0, y.outputs)
      .slice(3, 0, z.outputs)
      .contiguous();
}

}  // namespace bunchtrain::ops
