// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/conv3d.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "ordered_tensor.hpp"

namespace bunchtrain::nn {

/// Phase kernels of one state of the weight.
struct Conv3dImpl::KeptKernels {
  std::mutex mutex;
  const void* weight = nullptr;
  std::uint32_t version = 0;
  detail::OrderedTensor kernels;
};

Conv3dImpl::Conv3dImpl(Conv3dOptions options) : options_(options), kept_(std::make_shared<KeptKernels>()) {
  expects(options.in_channels > 0 && options.out_channels > 0, "a convolution needs channels on both sides");
  const auto& k = options.kernel;
  weight =
      register_parameter("weight", at::zeros({options.out_channels, options.in_channels, k[0], k[1], k[2]}));
  if (options.bias) bias = register_parameter("bias", at::zeros({options.out_channels}));
}

at::Tensor Conv3dImpl::forward(const at::Tensor& input) {
  if (partition()) return of_slab(input);
  return convolve(input, options_.padding, kernels());
}

at::Tensor Conv3dImpl::convolve(const at::Tensor& input, const ops::Padding3& padding,
                                const at::Tensor& kept) const {
  if (options_.upsampling == ops::Extent3{1, 1, 1}) return ops::conv3d(input, weight, bias, padding);
  return ops::upsampled_conv3d(input, weight, bias, options_.upsampling, padding, kept);
}

at::Tensor Conv3dImpl::of_slab(const at::Tensor& slab) {
  const AxisCut& cut = cut_of(slab);
  const AxisWindow window{.kernel = options_.kernel[0],
                          .before = options_.padding.before[0],
                          .after = options_.padding.after[0],
                          .upsampling = options_.upsampling[0]};
  const AxisCut outputs = output_cut(cut, window);
  const std::vector<CellRange> wanted = inputs_of(outputs, window, cut.extent());
  const int rank = partition()->rank();
  const CellRange own = cut.of(rank), mine = outputs.of(rank), seen = wanted[static_cast<std::size_t>(rank)];
  const CellRange inside = intersection(window.outputs_within(own, cut.extent()), mine);
  // A thin interior is not worth convolutions of rims, nor are the summed kernels of an upsampling layer.
  const bool is_worth_it = 2 * inside.size() >= mine.size() && options_.upsampling == ops::Extent3{1, 1, 1};
  // Who needs no halo takes the way of the others' halos in one piece: its gradients must hang on an exchange too.
  if (!is_worth_it || inside == mine || intersection(own, seen) != own)
    return outputs_of(partition()->exchange(slab, cut, wanted), seen.begin, mine);

  const auto halo = partition()->begin_exchange(slab, cut, wanted);
  const auto arrived = halo->finish(outputs_of(halo->slab(), own.begin, inside));
  std::vector<at::Tensor> parts;
  /// Outputs at a side, from as much of slab and halo as they see.
  const auto add_rim = [&](CellRange rim) {
    if (rim.empty()) return;
    const CellRange cells = window.inputs_of(rim, cut.extent());
    const auto part = [&](const at::Tensor& of, std::int64_t first) {
      const CellRange range = intersection(cells, {first, first + of.size(1)});
      return of.narrow(1, std::min(range.begin - first, of.size(1)), range.size());
    };
    parts.push_back(outputs_of(at::cat({part(arrived.before, seen.begin), part(halo->slab(), own.begin),
                                        part(arrived.behind, own.end)},
                                       1),
                               cells.begin, rim));
  };
  add_rim({mine.begin, inside.begin});
  parts.push_back(arrived.inside);
  add_rim({inside.end, mine.end});
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

at::Tensor Conv3dImpl::outputs_of(const at::Tensor& cells, std::int64_t first, CellRange outputs) const {
  const std::int64_t factor = options_.upsampling[0];
  const CellRange there = {first * factor, (first + cells.size(1)) * factor};
  const std::int64_t begin = outputs.begin - options_.padding.before[0];
  const std::int64_t end = outputs.end - options_.padding.before[0] + options_.kernel[0] - 1;
  ops::Padding3 padding = options_.padding;
  padding.before[0] = std::max<std::int64_t>(0, there.begin - begin);
  padding.after[0] = std::max<std::int64_t>(0, end - there.end);
  const at::Tensor found = convolve(cells, padding, {});
  const std::int64_t skipped = std::max<std::int64_t>(0, begin - there.begin);
  return found.size(1) == outputs.size() ? found : found.narrow(1, skipped, outputs.size());
}

at::Tensor Conv3dImpl::kernels() {
  if (at::GradMode::is_enabled() || options_.upsampling == ops::Extent3{1, 1, 1}) return {};
  const std::lock_guard lock(kept_->mutex);
  if (kept_->weight != weight.const_data_ptr() || kept_->version != weight._version()) {
    kept_->kernels = detail::OrderedTensor(ops::phase_kernels(weight, options_.upsampling, options_.padding));
    kept_->weight = weight.const_data_ptr();
    kept_->version = weight._version();
  }
  return kept_->kernels.on_current_stream();
}

}  // namespace bunchtrain::nn
