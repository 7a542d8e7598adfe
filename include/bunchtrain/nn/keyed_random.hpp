// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Random tensors whose row b is a pure function of (seed, step, sample b, site): the same
/// for any number of ranks.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::nn {

/// Standard normal numbers, [B, columns] float32 where the context's ids are, without a wait for that
/// device. A GPU's numbers are the CPU's within one unit in the last place. @param site what they are
/// for; sites are independent.
at::Tensor keyed_normal(const StepContext& context, std::uint64_t site, std::int64_t columns);
/// Uniform in [0, 1), [B, columns] float32 where the context's ids are; the same bits on CPU and GPU.
at::Tensor keyed_uniform(const StepContext& context, std::uint64_t site, std::int64_t columns);

}  // namespace bunchtrain::nn
