// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Dropout whose choice is a pure function of (seed, step, sample, site), never of rank,
/// thread or batch composition.

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

#include "bunchtrain/nn/spatial_partition.hpp"

namespace bunchtrain::nn {

struct DropoutOptions {
  /// Of an element to be zeroed, rounded to a multiple of 1/65536; the others are scaled by 1 / (1 - that).
  double probability = 0.1;
  std::uint64_t site = 0;  ///< which dropout of the model this is: sites draw independent numbers
};

/// Dropout on [B, ...]: row b belongs to sample b of the current `StepContext`.
///
/// Without a context the numbers are keyed by (0, how often this layer was called in training mode, row),
/// reproducible for one process but not across ranks. The choice is drawn where the input is, the same on CPU
/// and GPU, without a mask in memory: the backward pass draws it again. Ids that are on the input's GPU stay
/// there. Does nothing in evaluation mode. Differentiable to any order.
///
/// With a partition, images [B, X, Y, Z, C] are slabs and drop what the whole images would; tensors of other dimensions
/// are whole.
class DropoutImpl : public torch::nn::Module, public SpatialLayer {
 public:
  /// @throws ConfigError unless 0 <= probability < 1.
  explicit DropoutImpl(DropoutOptions options);
  /// @throws ConfigError if the context has another number of samples than `input` has rows.
  at::Tensor forward(const at::Tensor& input);
  const DropoutOptions& options() const noexcept { return options_; }

 private:
  at::Tensor of_slab(const at::Tensor& input, const at::Tensor& keys);

  DropoutOptions options_;
  std::int64_t calls_ = 0;
};
TORCH_MODULE(Dropout);

}  // namespace bunchtrain::nn
