// SPDX-License-Identifier: Apache-2.0
#include "../row_cuda.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {
namespace {

[[noreturn]] void fail() { throw NotBuiltError("batch norm on a GPU", "BUNCHTRAIN_CUDA"); }

}  // namespace

at::Tensor partial_moments_cuda(const at::Tensor&, const at::Tensor&) { fail(); }

at::Tensor partial_gradient_moments_cuda(const at::Tensor&, const at::Tensor&, const Normaliser&) { fail(); }

at::Tensor sum_partials_cuda(const at::Tensor&) { fail(); }

at::Tensor normalise_rows_cuda(const at::Tensor&, const Normaliser&) { fail(); }

at::Tensor normalise_rows_backward_cuda(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                        const Normaliser&, const Correction&) {
  fail();
}

RowNorm finish_forward_cuda(const BatchNormTensors&, const at::Tensor&, bool) { fail(); }

NormGradients finish_backward_cuda(const Statistics&, const at::Tensor&, const at::Tensor&,
                                   const at::Tensor&) {
  fail();
}

}  // namespace bunchtrain::ops::detail
