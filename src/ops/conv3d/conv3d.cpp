// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/conv3d.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/div.h>
#include <ATen/ops/tensordot.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "chosen_convolution.hpp"
#include "convolution.hpp"

namespace bunchtrain::ops {
namespace {

constexpr Extent3 kOnes = {1, 1, 1};

std::string describe(at::IntArrayRef sizes) { return fmt::format("[{}]", fmt::join(sizes, ", ")); }

/// Of an image in stretches along x. @returns its cells along x, y, z.
Extent3 require_shapes(at::TensorList stretches, const at::Tensor& weight, const Extent3& factor,
                       const Padding3& padding, const Extent3& stride = {1, 1, 1},
                       const Extent3& dilation = {1, 1, 1}) {
  Extent3 extent = {};
  for (const at::Tensor& stretch : stretches) {
    if (stretch.dim() != 5 || weight.dim() != 5 || stretch.size(4) != weight.size(1))
      throw ConfigError(fmt::format(
          "conv3d takes an input [B, X, Y, Z, C] and a weight [Cout, C, kx, ky, kz], not {} and {}",
          describe(stretch.sizes()), describe(weight.sizes())));
    extent = {extent[0] + stretch.size(1), stretch.size(2), stretch.size(3)};
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (stride[axis] < 1 || dilation[axis] < 1)
      throw ConfigError(fmt::format("conv3d: stride {} and dilation {} along axis {}; both are at least 1",
                                    stride[axis], dilation[axis], axis));
    const std::int64_t cells = factor[axis] * extent[axis] + padding.before[axis] + padding.after[axis];
    const std::int64_t kernel = (weight.size(2 + static_cast<std::int64_t>(axis)) - 1) * dilation[axis] + 1;
    if (factor[axis] < 1 || padding.before[axis] < 0 || padding.after[axis] < 0 || kernel > cells)
      throw ConfigError(fmt::format("conv3d: a kernel of {} cells does not fit {} padded cells along axis {}",
                                    kernel, cells, axis));
  }
  return extent;
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

detail::ConvolutionLayer layer_of(const at::Tensor& weight, const Extent3& cells, const Padding3& padding,
                                  const Extent3& factor) {
  return {.cells = cells,
          .inputs = weight.size(1),
          .channels = weight.size(0),
          .kernel = shape_of(weight, factor, padding).kernel,
          .padding = padding,
          .factor = factor};
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
                  const Padding3& padding, const Extent3& stride, const Extent3& dilation) {
  return conv3d(at::TensorList(input), weight, bias, padding, stride, dilation);
}

at::Tensor conv3d(at::TensorList stretches, const at::Tensor& weight, const at::Tensor& bias,
                  const Padding3& padding, const Extent3& stride, const Extent3& dilation) {
  const Extent3 cells = require_shapes(stretches, weight, kOnes, padding, stride, dilation);
  if (stride == kOnes && dilation == kOnes) {
    const auto geometry = detail::geometry_of(layer_of(weight, cells, padding, kOnes));
    if (auto found = detail::convolve_as_chosen(stretches, weight, bias, geometry)) return *std::move(found);
  }
  return detail::convolve(stretches, weight, bias,
                          {.padding = padding, .stride = stride, .dilation = dilation});
}

at::Tensor transposed_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                             const Extent3& stride, const Padding3& padding) {
  if (input.dim() != 5 || weight.dim() != 5 || input.size(4) != weight.size(0))
    throw ConfigError(fmt::format(
        "transposed_conv3d takes an input [B, X, Y, Z, C] and a weight [C, Cout, kx, ky, kz], not {} and {}",
        describe(input.sizes()), describe(weight.sizes())));
  Extent3 outputs;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto place = static_cast<std::int64_t>(axis);
    outputs[axis] = (input.size(1 + place) - 1) * stride[axis] + weight.size(2 + place) -
                    padding.before[axis] - padding.after[axis];
    if (stride[axis] < 1 || padding.before[axis] < 0 || padding.after[axis] < 0 || outputs[axis] < 1)
      throw ConfigError(
          fmt::format("transposed_conv3d: {} cells of a kernel of {} at steps of {}, less {} and {} cut off, "
                      "leave nothing along axis {}",
                      input.size(1 + place), weight.size(2 + place), stride[axis], padding.before[axis],
                      padding.after[axis], axis));
  }
  return detail::convolve_transposed(input, weight, bias, stride)
      .narrow(1, padding.before[0], outputs[0])
      .narrow(2, padding.before[1], outputs[1])
      .narrow(3, padding.before[2], outputs[2])
      .contiguous();
}

at::Tensor phase_kernels(const at::Tensor& weight, const Extent3& factor, const Padding3& padding) {
  return SumToPhases::apply(weight, shape_of(weight, factor, padding));
}

at::Tensor upsampled_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding, const at::Tensor& kernels) {
  return upsampled_conv3d(at::TensorList(input), weight, bias, factor, padding, kernels);
}

at::Tensor upsampled_conv3d(at::TensorList stretches, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding, const at::Tensor& kernels) {
  const Extent3 cells = require_shapes(stretches, weight, factor, padding);
  const auto geometry = detail::geometry_of(layer_of(weight, cells, padding, factor));
  const at::Tensor taps = kernels.defined() ? kernels : phase_kernels(weight, factor, padding);
  if (auto found = detail::convolve_as_chosen(stretches, taps, bias, geometry)) return *std::move(found);
  detail::Window window;  // of the small image
  for (std::size_t axis = 0; axis < 3; ++axis) {
    window.padding.before[axis] = geometry.before[axis];
    window.padding.after[axis] =
        geometry.outputs[axis] + geometry.kernel[axis] - 1 - geometry.before[axis] - cells[axis];
  }
  const at::Tensor all_phases =
      detail::convolve(stretches, taps, bias.defined() ? bias.repeat(geometry.phases()) : bias, window);
  return detail::sorted_phases(all_phases, factor, geometry.fine);
}

}  // namespace bunchtrain::ops
