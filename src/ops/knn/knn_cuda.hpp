// SPDX-License-Identifier: Apache-2.0
#pragma once
/// `ops::knn` and `ops::ragged_knn` for tensors on a GPU: cuda/knn.cpp, or stub/knn.cpp in builds without CUDA.

#include "bunchtrain/ops/knn.hpp"

namespace bunchtrain::ops::detail {

/// Fills `result`, whose tensors are allocated, on the current stream. The arguments were checked.
/// @throws NotBuiltError in builds without CUDA.
void knn_cuda(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts,
              const KnnResult& result);
void ragged_knn_cuda(const at::Tensor& points, const at::Tensor& row_splits, const KnnResult& result);

}  // namespace bunchtrain::ops::detail
