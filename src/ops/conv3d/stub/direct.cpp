// SPDX-License-Identifier: Apache-2.0
#include "../direct.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {
namespace {

[[noreturn]] void fail() {
  throw NotBuiltError("convolutions by kernels of ours on a GPU", "BUNCHTRAIN_CUDA");
}

}  // namespace

at::Tensor direct_output(const at::Tensor&, const at::Tensor&, const at::Tensor&, const DirectGeometry&,
                         const ConvolutionTiles&) {
  fail();
}
at::Tensor direct_image_gradient(const at::Tensor&, const at::Tensor&, const DirectGeometry&,
                                 const ConvolutionTiles&) {
  fail();
}
at::Tensor direct_weight_gradient(const at::Tensor&, const at::Tensor&, const DirectGeometry&,
                                  const ConvolutionTiles&) {
  fail();
}

}  // namespace bunchtrain::ops::detail
