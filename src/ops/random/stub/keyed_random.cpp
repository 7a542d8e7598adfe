// SPDX-License-Identifier: Apache-2.0
#include "../keyed_random_cuda.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::ops::detail {

at::Tensor keyed_random_cuda(const at::Tensor&, const KeyedStream&, std::int64_t, bool) {
  throw NotBuiltError("random numbers on a GPU", "BUNCHTRAIN_CUDA");
}

}  // namespace bunchtrain::ops::detail
