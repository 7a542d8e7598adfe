// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Normalisation of samples whose scale and shift come from a condition, and SiLU: what denoisers do before each convolution
/// (Perez et al., FiLM, arXiv:1709.07871; adaptive group norm of Dhariwal and Nichol, arXiv:2105.05233, with one group).

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "bunchtrain/ops/statistics_reducer.hpp"

namespace bunchtrain::ops {

struct ModulatedNormOptions {
  double epsilon = 1e-5;
  std::shared_ptr<StatisticsReducer> reducer =
      nullptr;             ///< over the ranks that have the samples' other cells
  std::int64_t cells = 0;  ///< of a sample over all these ranks; 0: as many as x has
};

/// Whether there are fused loops for x: float32, float64 and bfloat16 on the CPU.
bool has_modulated_norm(const at::Tensor& x) noexcept;

/// SiLU(n (1 + scale) + shift), n each sample with mean 0 and variance 1 over all cells and channels: two passes over memory
/// forward and two backward, where single operations take some fifteen.
///
/// @param x      [B, ..., C] of a dtype above, channels last; made contiguous if it is not.
/// @param scale  [B, C] floating-point, and as `shift`; both undefined: none.
/// @return as `x`, computed in float32 or wider, sums in float64. Differentiable once in all three. Two runs give the same bits, for any
/// number of threads. With a reducer collective, forward and backward: all ranks, same order.
/// @throws ConfigError if shapes do not fit, or x has no such loops.
at::Tensor modulated_norm_silu(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                               const ModulatedNormOptions& options = {});

}  // namespace bunchtrain::ops
