// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Norms of the gradients in arenas, where they are needed: on the host or on the GPU.

#include <ATen/core/Tensor.h>

#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::optim {

bool on_one_gpu(const tensor::ParameterArenas& arenas);
/// Of all arenas together; waits for a GPU.
double norm_on_host(const tensor::ParameterArenas& arenas);
/// [A] float64, one per arena, on the GPU that all of them are on.
at::Tensor norms_on_gpu(const tensor::ParameterArenas& arenas);

}  // namespace bunchtrain::optim
