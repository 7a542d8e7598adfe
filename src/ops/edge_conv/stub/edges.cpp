// SPDX-License-Identifier: Apache-2.0
#include "../edge_kernels.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {

void spread_to_edges_cuda(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  throw NotBuiltError("gathering neighbours on a GPU", "BUNCHTRAIN_CUDA");
}

void collect_from_edges_cuda(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  throw NotBuiltError("gathering neighbours on a GPU", "BUNCHTRAIN_CUDA");
}

at::Tensor create_index_faults_cuda(c10::Device) {
  throw NotBuiltError("gathering neighbours on a GPU", "BUNCHTRAIN_CUDA");
}

}  // namespace bunchtrain::ops::detail
