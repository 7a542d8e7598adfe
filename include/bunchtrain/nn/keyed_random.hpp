// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Random tensors whose row b is a pure function of (seed, step, sample b, site): the same for any number of
/// ranks.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::nn {

/// Standard normal numbers, [B, columns] float32 on the CPU. @param site what they are for; sites are
/// independent.
at::Tensor keyed_normal(const StepContext& context, std::uint64_t site, std::int64_t columns);
/// Uniform in [0, 1), [B, columns] float32 on the CPU.
at::Tensor keyed_uniform(const StepContext& context, std::uint64_t site, std::int64_t columns);

}  // namespace bunchtrain::nn
