// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/conv3d.hpp"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <mutex>

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
  const auto rank = partition()->rank();
  return outputs_of(partition()->exchange(slab, cut, wanted), wanted[static_cast<std::size_t>(rank)].begin,
                    outputs.of(rank));
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
