// SPDX-License-Identifier: Apache-2.0
#include "../knn_cuda.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {

void knn_cuda(const at::Tensor&, const std::optional<at::Tensor>&, const KnnResult&) {
  throw NotBuiltError("knn for tensors on a GPU", "BUNCHTRAIN_CUDA");
}

void ragged_knn_cuda(const at::Tensor&, const at::Tensor&, const KnnResult&) {
  throw NotBuiltError("ragged_knn for tensors on a GPU", "BUNCHTRAIN_CUDA");
}

}  // namespace bunchtrain::ops::detail
