// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The buffers of a module (running statistics) as they were.

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/nn/module.h>

#include <utility>
#include <vector>

namespace bunchtrain::nn {

/// Copies that are put back at the end; below autograd, for which the buffers never changed: LibTorch's batch norm
/// writes them without telling.
class KeptBuffers {
 public:
  explicit KeptBuffers(const torch::nn::Module& module) {
    for (const at::Tensor& buffer : module.buffers()) buffers_.emplace_back(buffer, buffer.clone());
  }
  ~KeptBuffers() {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    for (const auto& [buffer, kept] : buffers_) buffer.copy_(kept);
  }
  KeptBuffers(const KeptBuffers&) = delete;
  KeptBuffers& operator=(const KeptBuffers&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> buffers_;
};

}  // namespace bunchtrain::nn
