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

AxisWindow Conv3dImpl::window_along_x() const noexcept {
  return {.kernel = options_.kernel[0],
          .stride = options_.stride[0],
          .dilation = options_.dilation[0],
          .before = options_.padding.before[0],
          .after = options_.padding.after[0],
          .upsampling = options_.upsampling[0]};
}

at::Tensor Conv3dImpl::convolve(at::TensorList stretches, const ops::Padding3& padding,
                                const at::Tensor& kept) const {
  if (options_.upsampling == kOnes)
    return ops::conv3d(stretches, weight, bias, padding, options_.stride, options_.dilation);
  return ops::upsampled_conv3d(stretches, weight, bias, options_.upsampling, padding, kept);
}

at::Tensor Conv3dImpl::of_slab(const at::Tensor& slab) {
  const AxisCut& cut = cut_of(slab);
  const AxisWindow window = window_along_x();
  const AxisCut outputs = output_cut(cut, window);
  const std::vector<CellRange> wanted = inputs_of(outputs, window, cut.extent());
  const int rank = partition()->rank();
  const CellRange own = cut.of(rank), mine = outputs.of(rank), seen = wanted[static_cast<std::size_t>(rank)];
  const CellRange inside = intersection(window.outputs_within(own, cut.extent()), mine);
  // A thin interior is not worth convolutions of rims, nor are the summed kernels of an upsampling layer. Who has no rim
  // convolves behind the others' halos, of which it has those without a cell: its gradients must hang on them too.
  const bool in_parts = partition()->overlaps() && inside != mine && 2 * inside.size() >= mine.size() &&
                        options_.upsampling == kOnes;

  const auto halo = partition()->begin_exchange(slab, cut, wanted);
  const auto outputs_from = [&](const std::vector<Stretch>& at_hand, CellRange range) {
    return outputs_of(at_hand, range, cut.extent());
  };
  const auto arrived =
      halo->finish(in_parts ? outputs_from({{halo->slab(), own.begin}}, inside) : at::Tensor());
  const std::vector<Stretch> all = {{arrived.before, seen.begin},
                                    {halo->slab(), own.begin},
                                    {arrived.behind, std::max(own.end, seen.begin)}};
  if (!in_parts) return outputs_from(all, mine);
  std::vector<at::Tensor> parts;
  if (inside.begin > mine.begin) parts.push_back(outputs_from(all, {mine.begin, inside.begin}));
  parts.push_back(arrived.inside);
  if (inside.end < mine.end) parts.push_back(outputs_from(all, {inside.end, mine.end}));
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

at::Tensor Conv3dImpl::outputs_of(const std::vector<Stretch>& at_hand, CellRange outputs,
                                  std::int64_t extent) const {
  const AxisWindow window = window_along_x();
  const CellRange cells = window.inputs_of(outputs, extent);
  // Those that have nothing of it stay: their gradients, without a cell, are what others' gradients hang on.
  std::vector<at::Tensor> stretches;
  for (const auto& [part, begin] : at_hand) {
    const CellRange range = intersection(cells, {begin, begin + part.size(1)});
    stretches.push_back(range.empty() ? part.narrow(1, 0, 0)
                                      : part.narrow(1, range.begin - begin, range.size()));
  }
  const std::int64_t first = outputs.begin * window.stride - window.before;
  const std::int64_t last =
      (outputs.end - 1) * window.stride - window.before + (window.kernel - 1) * window.dilation;
  const CellRange fine = {cells.begin * window.upsampling, cells.end * window.upsampling};
  ops::Padding3 padding = options_.padding;
  padding.before[0] = std::max<std::int64_t>(0, fine.begin - first);
  padding.after[0] = std::max<std::int64_t>(0, last + 1 - fine.end);
  const at::Tensor found = convolve(stretches, padding, {});
  const std::int64_t skipped = std::max<std::int64_t>(0, first - fine.begin);
  return found.size(1) == outputs.size() ? found : found.narrow(1, skipped, outputs.size());
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
