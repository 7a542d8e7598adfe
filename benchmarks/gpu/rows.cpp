// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

#include <ATen/ops/empty.h>

#include "bunchtrain/core/random.hpp"

namespace gpu_bench {

using bunchtrain::device::Precision;

std::vector<Precision> precisions(c10::Device device) {
  if (device.is_cpu()) return {Precision::float32, Precision::bfloat16};
  return {Precision::float32, Precision::tf32, Precision::bfloat16};
}

at::Tensor normal(at::IntArrayRef shape, std::uint64_t stream, c10::Device device) {
  const at::Tensor values = at::empty(shape);
  const bunchtrain::CounterRandom random(1, stream);
  auto* value = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    value[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
  return values.to(device);
}

}  // namespace gpu_bench
