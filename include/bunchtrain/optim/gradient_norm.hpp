// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The norm of all gradients of a network.

#include <ATen/core/Tensor.h>

#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::optim {

/// L2 norm of the gradients as they lie in the arenas: a float64 scalar on their device. On the CPU the same
/// bits for any number of threads; on a GPU asynchronous on its current stream. Arenas on several devices: on
/// the CPU, and it waits for them.
at::Tensor gradient_norm(const tensor::ParameterArenas& arenas);

}  // namespace bunchtrain::optim
