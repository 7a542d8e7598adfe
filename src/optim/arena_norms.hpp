// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Norms of the gradients in arenas, where they are needed: on the host or on the GPU.

#include <ATen/core/Tensor.h>

#include "bunchtrain/tensor/parameter_arena.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

bool on_one_gpu(const tensor::ParameterArenas& arenas);
/// Of all arenas together; waits for a GPU.
double norm_on_host(const tensor::ParameterArenas& arenas);

/// The norm of the gradients in arenas of one GPU: a launch per arena. Holds what its kernels need from step to step.
class GpuNorm {
 public:
  /// Asynchronous; @param use on that GPU
  void find(const tensor::ParameterArenas& arenas, const NormUse& use);

 private:
  at::Tensor memory_;  ///< [1 + blocks] float64: the counter of blocks, partial sums
};

}  // namespace bunchtrain::optim
