// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/conv3d.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "ordered_tensor.hpp"

namespace bunchtrain::nn {
namespace {

constexpr ops::Extent3 kOnes = {1, 1, 1};

/// Of images [B, X, Y, Z, C].
std::int64_t dimension_of(std::size_t axis) noexcept { return 1 + static_cast<std::int64_t>(axis); }

}  // namespace

/// Phase kernels of one state of the weight.
struct Conv3dImpl::KeptKernels {
  std::mutex mutex;
  const void* weight = nullptr;
  std::uint32_t version = 0;
  detail::OrderedTensor kernels;
};

void Conv3dOptions::validate() const {
  if (in_channels < 1 || out_channels < 1)
    throw ConfigError("channels", fmt::format("{} to {}", in_channels, out_channels),
                      "at least 1 on both sides");
  const bool has_steps = stride != kOnes || dilation != kOnes;
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (kernel[axis] < 1 || upsampling[axis] < 1 || stride[axis] < 1 || dilation[axis] < 1)
      throw ConfigError("kernel, upsampling, stride, dilation",
                        fmt::format("{}, {}, {}, {} along axis {}", kernel[axis], upsampling[axis],
                                    stride[axis], dilation[axis], axis),
                        "at least 1 each");
  if (has_steps && upsampling != kOnes)
    throw ConfigError("stride, dilation",
                      fmt::format("{}, {}", fmt::join(stride, " x "), fmt::join(dilation, " x ")),
                      "1 beside an upsampling");
}

Conv3dImpl::Conv3dImpl(Conv3dOptions options) : options_(options), kept_(std::make_shared<KeptKernels>()) {
  options.validate();
  const auto& k = options.kernel;
  weight =
      register_parameter("weight", at::zeros({options.out_channels, options.in_channels, k[0], k[1], k[2]}));
  if (options.bias) bias = register_parameter("bias", at::zeros({options.out_channels}));
}

at::Tensor Conv3dImpl::forward(const at::Tensor& input) {
  if (partition()) return of_slab(input);
  return convolve(input, options_.padding, kernels());
}

std::array<AxisWindow, 3> Conv3dImpl::windows() const noexcept {
  std::array<AxisWindow, 3> windows;
  for (std::size_t axis = 0; axis < windows.size(); ++axis)
    windows[axis] = {.kernel = options_.kernel[axis],
                     .stride = options_.stride[axis],
                     .dilation = options_.dilation[axis],
                     .before = options_.padding.before[axis],
                     .after = options_.padding.after[axis],
                     .upsampling = options_.upsampling[axis]};
  return windows;
}

at::Tensor Conv3dImpl::convolve(at::TensorList stretches, const ops::Padding3& padding,
                                const at::Tensor& kept) const {
  if (options_.upsampling == kOnes)
    return ops::conv3d(stretches, weight, bias, padding, options_.stride, options_.dilation);
  return ops::upsampled_conv3d(stretches, weight, bias, options_.upsampling, padding, kept);
}

at::Tensor Conv3dImpl::of_slab(const at::Tensor& slab) {
  const ImageCut& cut = cut_of(slab);
  const auto windows = this->windows();
  const ImageCut outputs = output_cut(cut, windows);
  const WantedCells wanted = inputs_of(outputs, windows, cut);
  const CellBox mine = box_of(outputs);
  const std::size_t lead = leading_axis(cut);
  const int rank = partition()->along(lead).rank;
  const CellRange own = cut[lead].of(rank), seen = wanted[lead][static_cast<std::size_t>(rank)];
  const CellRange inside = intersection(windows[lead].outputs_within(own, cut[lead].extent()), mine[lead]);
  // A thin interior is not worth convolutions of rims, nor are the summed kernels of an upsampling layer. Who has no rim
  // convolves behind the others' halos, of which it has those without a cell: its gradients must hang on them too.
  const bool in_parts = partition()->overlaps() && inside != mine[lead] &&
                        2 * inside.size() >= mine[lead].size() && options_.upsampling == kOnes;

  const auto halo = partition()->begin_exchange(fetch(slab, wanted, lead + 1), lead, cut[lead], wanted[lead]);
  const auto outputs_from = [&](const std::vector<Stretch>& at_hand, CellRange range) {
    CellBox box = mine;
    box[lead] = range;
    return outputs_of(at_hand, box, cut);
  };
  const auto arrived =
      halo->finish(in_parts ? outputs_from({{halo->slab(), own.begin}}, inside) : at::Tensor());
  const std::vector<Stretch> all = {{arrived.before, seen.begin},
                                    {halo->slab(), own.begin},
                                    {arrived.behind, std::max(own.end, seen.begin)}};
  if (!in_parts) return outputs_from(all, mine[lead]);
  std::vector<at::Tensor> parts;
  if (inside.begin > mine[lead].begin) parts.push_back(outputs_from(all, {mine[lead].begin, inside.begin}));
  parts.push_back(arrived.inside);
  if (inside.end < mine[lead].end) parts.push_back(outputs_from(all, {inside.end, mine[lead].end}));
  return parts.size() == 1 ? parts.front() : at::cat(parts, dimension_of(lead));
}

at::Tensor Conv3dImpl::outputs_of(const std::vector<Stretch>& at_hand, const CellBox& outputs,
                                  const ImageCut& cut) const {
  const auto windows = this->windows();
  const std::size_t lead = leading_axis(cut);
  const std::int64_t dimension = dimension_of(lead);
  const CellRange cells = windows[lead].inputs_of(outputs[lead], cut[lead].extent());
  // Those that have nothing of it stay: their gradients, without a cell, are what others' gradients hang on.
  std::vector<at::Tensor> stretches;
  for (const auto& [part, begin] : at_hand) {
    const CellRange range = intersection(cells, {begin, begin + part.size(dimension)});
    stretches.push_back(range.empty() ? part.narrow(dimension, 0, 0)
                                      : part.narrow(dimension, range.begin - begin, range.size()));
  }
  // Convolutions take stretches along x.
  if (lead > 0 && stretches.size() > 1) stretches = {at::cat(stretches, dimension)};
  std::array<WindowPart, 3> parts;
  ops::Padding3 padding = options_.padding;
  for (std::size_t axis = lead; axis < parts.size(); ++axis) {
    if (axis > lead && cut[axis].ranks() == 1) continue;
    parts[axis] = windows[axis].part_of(outputs[axis], cut[axis].extent());
    padding.before[axis] = parts[axis].before;
    padding.after[axis] = parts[axis].after;
  }
  at::Tensor found = convolve(stretches, padding, {});
  for (std::size_t axis = lead; axis < parts.size(); ++axis)
    if (found.size(dimension_of(axis)) != outputs[axis].size())
      found = found.narrow(dimension_of(axis), parts[axis].skipped, outputs[axis].size());
  return found;
}

at::Tensor Conv3dImpl::kernels() {
  if (at::GradMode::is_enabled() || options_.upsampling == kOnes) return {};
  const std::lock_guard lock(kept_->mutex);
  if (kept_->weight != weight.const_data_ptr() || kept_->version != weight._version()) {
    kept_->kernels = detail::OrderedTensor(ops::phase_kernels(weight, options_.upsampling, options_.padding));
    kept_->weight = weight.const_data_ptr();
    kept_->version = weight._version();
  }
  return kept_->kernels.on_current_stream();
}

}  // namespace bunchtrain::nn
