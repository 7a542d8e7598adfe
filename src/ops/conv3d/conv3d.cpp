// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/conv3d.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/div.h>
#include <ATen/ops/tensordot.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

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

/// [factor, taps, kernel]: 1 where a kernel cell counts to a tap. Made on the device: a copy would wait for it.
at::Tensor tap_sums(const AxisPhases& axis, const at::TensorOptions& options) {
  const auto numbers = [&](std::int64_t count) { return at::arange(count, options.dtype(at::kLong)); };
  const at::Tensor cells = numbers(axis.factor).view({-1, 1, 1}) + numbers(axis.kernel) - axis.padding;
  return at::div(cells, axis.factor, "floor")
      .eq(numbers(axis.taps()).view({-1, 1}) + axis.first())
      .to(options.dtype());
}

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// The shape of a weight and how it is upsampled, as autograd keeps it.
struct PhaseShape {
  Extent3 kernel, factor, before;

  std::array<AxisPhases, 3> axes() const {
    std::array<AxisPhases, 3> all;
    for (std::size_t axis = 0; axis < 3; ++axis) all[axis] = {factor[axis], kernel[axis], before[axis]};
    return all;
  }
  std::vector<std::int64_t> numbers() const {
    std::vector<std::int64_t> all;
    for (const Extent3& part : {kernel, factor, before}) all.insert(all.end(), part.begin(), part.end());
    return all;
  }
  static PhaseShape from(const std::vector<std::int64_t>& all) {
    return {{all[0], all[1], all[2]}, {all[3], all[4], all[5]}, {all[6], all[7], all[8]}};
  }
};

PhaseShape shape_of(const at::Tensor& weight, const Extent3& factor, const Padding3& padding) {
  return {{weight.size(2), weight.size(3), weight.size(4)}, factor, padding.before};
}

constexpr const char* kShape = "shape";

// Sums of weights, and sums of their gradients, keep the weights' width, also under autocast: forward and
// backward are one's own, for autograd would run LibTorch's products of backward under the autocast of the
// moment. Each one's backward is the other, so that gradients of any order exist.
class NoAutocast {
 private:
  c10::impl::ExcludeDispatchKeyGuard guard_{c10::autocast_dispatch_keyset};
};

/// [Cout, Cin, kernel] to [factors Cout, Cin, taps].
struct SumToPhases : torch::autograd::Function<SumToPhases> {
  static Variable forward(AutogradContext* context, const Variable& weight, const PhaseShape& shape) {
    context->saved_data[kShape] = shape.numbers();
    const NoAutocast no_autocast;
    const auto axes = shape.axes();
    at::Tensor sums = weight;
    for (const AxisPhases& axis : axes)
      sums = at::tensordot(sums, tap_sums(axis, weight.options()), {2}, {2});
    return sums.permute({2, 4, 6, 0, 1, 3, 5, 7})
        .reshape({shape.factor[0] * shape.factor[1] * shape.factor[2] * weight.size(0), weight.size(1),
                  axes[0].taps(), axes[1].taps(), axes[2].taps()});
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients);
};

/// The adjoint.
struct CollectFromPhases : torch::autograd::Function<CollectFromPhases> {
  static Variable forward(AutogradContext* context, const Variable& kernels, const PhaseShape& shape) {
    context->saved_data[kShape] = shape.numbers();
    const NoAutocast no_autocast;
    const auto axes = shape.axes();
    const Extent3& factor = shape.factor;
    at::Tensor sums = kernels
                          .reshape({factor[0], factor[1], factor[2], -1, kernels.size(1), axes[0].taps(),
                                    axes[1].taps(), axes[2].taps()})
                          .permute({3, 4, 0, 5, 1, 6, 2, 7});
    for (const std::int64_t axis : {2, 1, 0}) {
      const auto place = 2 + 2 * axis;
      sums = at::tensordot(sums, tap_sums(axes[static_cast<std::size_t>(axis)], kernels.options()),
                           {place, place + 1}, {0, 1});
    }
    return sums.permute({0, 1, 4, 3, 2}).contiguous();
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto shape = PhaseShape::from(context->saved_data[kShape].toIntVector());
    return {SumToPhases::apply(gradients[0], shape), Variable()};
  }
};

variable_list SumToPhases::backward(AutogradContext* context, const variable_list& gradients) {
  const auto shape = PhaseShape::from(context->saved_data[kShape].toIntVector());
  return {CollectFromPhases::apply(gradients[0], shape), Variable()};
}

}  // namespace

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

at::Tensor phase_kernels(const at::Tensor& weight, const Extent3& factor, const Padding3& padding) {
  return SumToPhases::apply(weight, shape_of(weight, factor, padding));
}

at::Tensor upsampled_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding, const at::Tensor& kernels) {
  require_shapes(input, weight, factor, padding);
  const auto phases = shape_of(weight, factor, padding).axes();
  Extent3 outputs, steps, before,
      after;  // outputs in the fine grid; steps and padding (negative: cut) in the small one
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto place = static_cast<std::int64_t>(axis);
    const std::int64_t cells = input.size(1 + place);
    outputs[axis] =
        factor[axis] * cells + padding.before[axis] + padding.after[axis] - weight.size(2 + place) + 1;
    steps[axis] = (outputs[axis] + factor[axis] - 1) / factor[axis];
    before[axis] = -phases[axis].first();
    after[axis] = steps[axis] - 1 + phases[axis].last() - (cells - 1);
  }
  const at::Tensor all_phases = detail::convolve(
      pad(input, before, after), kernels.defined() ? kernels : phase_kernels(weight, factor, padding),
      bias.defined() ? bias.repeat(factor[0] * factor[1] * factor[2]) : bias, {0, 0, 0});
  const std::int64_t batch = input.size(0), channels = weight.size(0);
  return all_phases.view({batch, steps[0], steps[1], steps[2], factor[0], factor[1], factor[2], channels})
      .permute({0, 1, 4, 2, 5, 3, 6, 7})
      .reshape({batch, steps[0] * factor[0], steps[1] * factor[1], steps[2] * factor[2], channels})
      .slice(1, 0, outputs[0])
      .slice(2, 0, outputs[1])
      .slice(3, 0, outputs[2])
      .contiguous();
}

}  // namespace bunchtrain::ops
