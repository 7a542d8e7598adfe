// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/gradient_norm.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>

#include "arena_norms.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "flat_update.hpp"

namespace bunchtrain::optim {

namespace {

at::Tensor norm_on_device(const at::Tensor& flat) {
  return at::linalg_vector_norm(flat, 2, std::nullopt, /*keepdim=*/false, at::kDouble);
}

double sum_of_squares(const at::Tensor& flat) {
  if (!flat.is_cpu()) {
    const double norm = device::LateCopy(norm_on_device(flat)).values().front();
    return norm * norm;
  }
  return flat.scalar_type() == at::kDouble
             ? sum_of_squares_on_cpu(flat.const_data_ptr<double>(), flat.numel())
             : sum_of_squares_on_cpu(flat.const_data_ptr<float>(), flat.numel());
}

}  // namespace

bool on_one_gpu(const tensor::ParameterArenas& arenas) {
  if (arenas.empty()) return false;
  const c10::Device first = arenas.front().values().device();
  return first.is_cuda() &&
         std::ranges::all_of(arenas, [&](const auto& arena) { return arena.values().device() == first; });
}

double norm_on_host(const tensor::ParameterArenas& arenas) {
  double sum = 0;
  for (const auto& arena : arenas) sum += sum_of_squares(arena.gradients());
  return std::sqrt(sum);
}

at::Tensor norms_on_gpu(const tensor::ParameterArenas& arenas) {
  const at::NoGradGuard no_grad;
  const c10::Device gpu = arenas.front().values().device();
  const c10::DeviceGuard guard(gpu);
  const auto count = static_cast<std::int64_t>(arenas.size());
  at::Tensor norms = at::empty({count}, at::TensorOptions(gpu).dtype(at::kDouble));
  for (std::int64_t i = 0; i < count; ++i)
    norms.select(0, i).copy_(norm_on_device(arenas[static_cast<std::size_t>(i)].gradients()));
  return norms;
}

at::Tensor gradient_norm(const tensor::ParameterArenas& arenas) {
  return on_one_gpu(arenas) ? norm_on_device(norms_on_gpu(arenas))
                            : at::full({}, norm_on_host(arenas), at::kDouble);
}

}  // namespace bunchtrain::optim
