// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "../keyed_random_cuda.hpp"
#include "keyed_random_launch.hpp"

namespace bunchtrain::ops::detail {

at::Tensor keyed_random_cuda(const at::Tensor& ids, const KeyedStream& stream, std::int64_t columns,
                             bool normal) {
  const c10::cuda::CUDAGuard guard(ids.device());
  at::Tensor rows = at::empty({ids.numel(), columns}, ids.options().dtype(at::kFloat));
  launch_keyed_random(ids.numel(), columns, ids.const_data_ptr<std::int64_t>(), stream,
                      normal ? Distribution::normal : Distribution::uniform, rows.mutable_data_ptr<float>(),
                      c10::cuda::getCurrentCUDAStream());
  return rows;
}

}  // namespace bunchtrain::ops::detail
