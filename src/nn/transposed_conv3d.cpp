// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/transposed_conv3d.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {

void TransposedConv3dOptions::validate() const {
  if (in_channels < 1 || out_channels < 1)
    throw ConfigError("channels", fmt::format("{} to {}", in_channels, out_channels),
                      "at least 1 before and behind a transposed convolution");
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (stride[axis] < 1 || stride[axis] > kernel[axis])
      throw ConfigError(
          "stride", fmt::format("{} along axis {}", stride[axis], axis),
          fmt::format("from 1 to the kernel's {} cells: others would stay empty", kernel[axis]));
}

TransposedConv3dImpl::TransposedConv3dImpl(TransposedConv3dOptions options) : options_(options) {
  options.validate();
  const auto& k = options.kernel;
  weight =
      register_parameter("weight", at::zeros({options.in_channels, options.out_channels, k[0], k[1], k[2]}));
  if (options.bias) bias = register_parameter("bias", at::zeros({options.out_channels}));
}

at::Tensor TransposedConv3dImpl::forward(const at::Tensor& input) {
  if (partition()) return of_slab(input);
  return ops::transposed_conv3d(input, weight, bias, options_.stride, options_.padding);
}

at::Tensor TransposedConv3dImpl::of_slab(const at::Tensor& slab) {
  std::array<TransposedWindow, 3> windows;
  for (std::size_t axis = 0; axis < windows.size(); ++axis)
    windows[axis] = {.kernel = options_.kernel[axis],
                     .stride = options_.stride[axis],
                     .before = options_.padding.before[axis],
                     .after = options_.padding.after[axis]};
  const ImageCut& cut = cut_of(slab);
  const ImageCut outputs = output_cut(cut, windows);
  const CellBox mine = box_of(outputs);
  ops::Padding3 padding = options_.padding;
  for (std::size_t axis = 0; axis < mine.size(); ++axis) {
    if (cut[axis].ranks() == 1) continue;
    const WindowPart part = windows[axis].part_of(mine[axis], cut[axis].extent());
    padding.before[axis] = part.before;
    padding.after[axis] = part.after;
  }
  return ops::transposed_conv3d(fetch(slab, inputs_of(outputs, windows, cut)), weight, bias, options_.stride,
                                padding);
}

}  // namespace bunchtrain::nn
