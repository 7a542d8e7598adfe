// SPDX-License-Identifier: Apache-2.0
#include "convolution_strips.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>

#include <tuple>
#include <vector>

#include "convolution_double.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// How many neighbours along y and z are computed at once.
struct Strip {
  std::int64_t y = 1, z = 1;
};

/// The best strip for the kernel's output channels (measured: benchmarks/micro/conv3d), where the image has
/// room for the longer kernel: see `convolve` on kernels beyond it.
Strip strip_of(const at::Tensor& input, const at::Tensor& weight) {
  const std::int64_t channels = weight.size(0);
  if (channels > 8) return {};
  const Strip strip = channels > 2 ? Strip{.z = 2} : Strip{.y = 4, .z = 4};
  const bool has_room =
      weight.size(3) + strip.y - 1 <= input.size(2) && weight.size(4) + strip.z - 1 <= input.size(3);
  return has_room ? strip : Strip{};
}

/// LibTorch's order of the axes, on the same memory.
at::Tensor channels_second(const at::Tensor& cells) { return cells.permute({0, 4, 1, 2, 3}); }
at::Tensor channels_last(const at::Tensor& cells) { return cells.permute({0, 2, 3, 4, 1}).contiguous(); }

/// How `outputs` cells of an axis are covered by groups of `strip`; the first `excess` cells come before the
/// axis, so that no padding is needed behind it.
struct Groups {
  std::int64_t strip, count, excess;

  Groups(std::int64_t outputs, std::int64_t strip)
      : strip(strip), count((outputs + strip - 1) / strip), excess(count * strip - outputs) {}
};

Groups groups_of(const at::Tensor& input, const at::Tensor& weight, const Extent3& padding, int axis,
                 std::int64_t strip) {
  return {input.size(1 + axis) + 2 * padding[static_cast<std::size_t>(axis)] - weight.size(2 + axis) + 1,
          strip};
}

/// [sy sz Cout, Cin, kx, ky + sy - 1, kz + sz - 1]: the kernel as each cell of a strip sees it.
at::Tensor widened(const at::Tensor& weight, Strip strip) {
  std::vector<at::Tensor> kernels;
  for (std::int64_t y = 0; y < strip.y; ++y)
    for (std::int64_t z = 0; z < strip.z; ++z)
      kernels.push_back(at::constant_pad_nd(weight, {z, strip.z - 1 - z, y, strip.y - 1 - y}));
  return at::cat(kernels).contiguous(at::MemoryFormat::ChannelsLast3d);
}

/// Kernels of one input channel leave nothing to sum over at a cell: their z taps become channels.
at::Tensor taps_as_channels(const at::Tensor& input, std::int64_t taps, std::int64_t padding) {
  return at::constant_pad_nd(input.squeeze(4), {padding, padding}).unfold(3, taps, 1).contiguous();
}

at::Tensor convolve_strips(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                           const Extent3& padding) {
  const Strip strip = strip_of(input, weight);
  const Groups y = groups_of(input, weight, padding, 1, strip.y);
  const Groups z = groups_of(input, weight, padding, 2, strip.z);
  const at::Tensor groups = channels_last(at::conv3d(
      channels_second(input), widened(weight, strip), bias.defined() ? bias.repeat(strip.y * strip.z) : bias,
      {1, strip.y, strip.z}, at::IntArrayRef({padding[0], padding[1] + y.excess, padding[2] + z.excess})));
  const std::int64_t batch = groups.size(0), planes = groups.size(1), channels = weight.size(0);
  return groups.view({batch, planes, y.count, z.count, y.strip, z.strip, channels})
      .transpose(3, 4)
      .reshape({batch, planes, y.count * y.strip, z.count * z.strip, channels})
      .slice(2, y.excess)
      .slice(3, z.excess)
      .contiguous();
}

at::Tensor plain_weight_gradient(const at::Tensor& gradient, const at::Tensor& input,
                                 const at::Tensor& weight, const Extent3& stride, const Extent3& padding) {
  return std::get<1>(at::convolution_backward(
      channels_second(gradient), channels_second(input), weight.contiguous(at::MemoryFormat::ChannelsLast3d),
      c10::nullopt, stride, padding, {1, 1, 1},
      /*transposed=*/false, {0, 0, 0}, /*groups=*/1, {false, true, false}));
}

}  // namespace

at::Tensor convolution_output(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                              const Extent3& padding) {
  if (input.scalar_type() == at::kDouble) return double_output(input, weight, bias, padding);
  // In bfloat16 oneDNN sums over pairs of input channels.
  if (weight.size(1) == 1 && input.scalar_type() == at::kBFloat16) {
    return convolve_strips(taps_as_channels(input, weight.size(4), padding[2]), weight.transpose(1, 4), bias,
                           {padding[0], padding[1], 0});
  }
  return convolve_strips(input, weight, bias, padding);
}

at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight,
                           const Extent3& padding) {
  if (input.scalar_type() == at::kDouble) return double_weight_gradient(gradient, input, weight, padding);
  const std::int64_t outputs = weight.size(0), inputs = weight.size(1), taps = weight.size(4);
  if (inputs == 1 && taps > 1) {
    const at::Tensor flat = at::empty({outputs, taps, weight.size(2), weight.size(3), 1}, weight.options());
    return plain_weight_gradient(gradient, taps_as_channels(input, taps, padding[2]), flat, {1, 1, 1},
                                 {padding[0], padding[1], 0})
        .transpose(1, 4);
  }
  const std::int64_t strip = strip_of(input, weight).z;
  if (strip == 1) return plain_weight_gradient(gradient, input, weight, {1, 1, 1}, padding);
  const Groups z = groups_of(input, weight, padding, 2, strip);
  const at::Tensor groups =
      at::constant_pad_nd(gradient, {0, 0, z.excess, 0})
          .contiguous()
          .view({gradient.size(0), gradient.size(1), gradient.size(2), z.count, strip * outputs});
  const at::Tensor wide = at::empty(
      {strip * outputs, inputs, weight.size(2), weight.size(3), taps + strip - 1}, weight.options());
  const at::Tensor gradients = plain_weight_gradient(groups, input, wide, {1, 1, strip},
                                                     {padding[0], padding[1], padding[2] + z.excess});
  at::Tensor sum = gradients.narrow(0, 0, outputs).narrow(4, 0, taps);
  for (std::int64_t cell = 1; cell < strip; ++cell)
    sum = sum.add(gradients.narrow(0, cell * outputs, outputs).narrow(4, cell, taps));
  return sum;
}

at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight, const Extent3& padding) {
  Extent3 mirrored;
  for (std::size_t axis = 0; axis < 3; ++axis)
    mirrored[axis] = weight.size(2 + static_cast<std::int64_t>(axis)) - 1 - padding[axis];
  const at::Tensor kernel = at::flip(weight, {2, 3, 4}).transpose(0, 1);
  if (gradient.scalar_type() == at::kDouble) return double_output(gradient, kernel, {}, mirrored);
  return convolve_strips(gradient, kernel, {}, mirrored);
}

}  // namespace bunchtrain::ops::detail
