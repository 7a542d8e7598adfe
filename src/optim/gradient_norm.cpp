// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/gradient_norm.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>

#include "arena_norms.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
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

void GpuNorm::find(const tensor::ParameterArenas& arenas, const NormUse& use) {
  const c10::Device gpu = arenas.front().values().device();
  const c10::DeviceGuard guard(gpu);
  const auto blocks_of = [](const tensor::ParameterArena& arena) {
    return norm_blocks(static_cast<std::int64_t>(arena.gradients().nbytes()));
  };
  std::int64_t blocks = 0;
  for (const auto& arena : arenas) blocks += blocks_of(arena);
  if (!memory_.defined())
    memory_ = at::zeros({1 + blocks},
                        at::TensorOptions(gpu).dtype(at::kDouble));  // once: the last block leaves zero
  auto* const numbers = memory_.mutable_data_ptr<double>();
  const NormMemory memory{
      .partial_sums = numbers + 1, .arrived = reinterpret_cast<unsigned*>(numbers), .blocks = blocks};
  std::int64_t first_block = 0;
  for (const auto& arena : arenas) {
    const at::Tensor& flat = arena.gradients();
    const auto add = [&]<class T>(const T* values) {
      add_squares_on_gpu(values, flat.numel(), memory, first_block, use, device::current_stream(gpu));
    };
    if (flat.scalar_type() == at::kDouble)
      add(flat.const_data_ptr<double>());
    else
      add(flat.const_data_ptr<float>());
    first_block += blocks_of(arena);
  }
}

at::Tensor gradient_norm(const tensor::ParameterArenas& arenas) {
  if (!on_one_gpu(arenas)) return at::full({}, norm_on_host(arenas), at::kDouble);
  at::Tensor norm = at::empty({}, at::TensorOptions(arenas.front().values().device()).dtype(at::kDouble));
  GpuNorm().find(
      arenas,
      {.rule = nullptr, .loss_scale = nullptr, .found = nullptr, .norm = norm.mutable_data_ptr<double>()});
  return norm;
}

}  // namespace bunchtrain::optim
