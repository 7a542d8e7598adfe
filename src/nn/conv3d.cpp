// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/conv3d.hpp"

#include <ATen/ops/zeros.h>

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
  if (options_.upsampling == ops::Extent3{1, 1, 1}) return ops::conv3d(input, weight, bias, options_.padding);
  return ops::upsampled_conv3d(input, weight, bias, options_.upsampling, options_.padding, kernels());
}

at::Tensor Conv3dImpl::kernels() {
  if (at::GradMode::is_enabled()) return {};
  const std::lock_guard lock(kept_->mutex);
  if (kept_->weight != weight.const_data_ptr() || kept_->version != weight._version()) {
    kept_->kernels = detail::OrderedTensor(ops::phase_kernels(weight, options_.upsampling, options_.padding));
    kept_->weight = weight.const_data_ptr();
    kept_->version = weight._version();
  }
  return kept_->kernels.on_current_stream();
}

}  // namespace bunchtrain::nn
