// SPDX-License-Identifier: Apache-2.0
#include "../dropout_cuda.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {

at::Tensor row_keys_cuda(const at::Tensor&, const KeyedStream&) {
  throw NotBuiltError("dropout on a GPU", "BUNCHTRAIN_CUDA");
}

at::Tensor drop_rows_cuda(const at::Tensor&, const at::Tensor&, std::int64_t, std::uint32_t, double) {
  throw NotBuiltError("dropout on a GPU", "BUNCHTRAIN_CUDA");
}

}  // namespace bunchtrain::ops::detail
