// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Half.h>

#include "../dropout_cuda.hpp"
#include "dropout_launch.hpp"

namespace bunchtrain::ops::detail {

at::Tensor row_keys_cuda(const at::Tensor& ids, const KeyedStream& stream) {
  const c10::cuda::CUDAGuard guard(ids.device());
  at::Tensor keys = at::empty_like(ids);
  launch_row_keys(ids.numel(), ids.const_data_ptr<std::int64_t>(), stream,
                  keys.mutable_data_ptr<std::int64_t>(), c10::cuda::getCurrentCUDAStream());
  return keys;
}

at::Tensor drop_rows_cuda(const at::Tensor& x, const at::Tensor& keys, std::int64_t first_block,
                          std::uint32_t threshold, double scale) {
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor y = at::empty_like(x);
  const auto launch = [&]<class S>(S, Real<S> factor) {
    launch_drop(keys.numel(), x.numel() / keys.numel(), static_cast<const S*>(x.const_data_ptr()),
                static_cast<S*>(y.mutable_data_ptr()), keys.const_data_ptr<std::int64_t>(), threshold, factor,
                c10::cuda::getCurrentCUDAStream(), first_block);
  };
  const auto narrow = static_cast<float>(scale);
  if (x.scalar_type() == at::kFloat) launch(float{}, narrow);
  if (x.scalar_type() == at::kDouble) launch(double{}, scale);
  if (x.scalar_type() == at::kBFloat16) launch(Bf16{}, narrow);
  if (x.scalar_type() == at::kHalf)
    launch(Fp16{}, static_cast<float>(c10::Half(narrow)));  // as the CPU's factors
  return y;
}

}  // namespace bunchtrain::ops::detail
