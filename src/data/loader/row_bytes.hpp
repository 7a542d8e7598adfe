// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How large a row of a tensor is.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bunchtrain::data {

/// Of what an index of the first axis leaves.
inline std::int64_t row_bytes(const at::Tensor& tensor) {
  auto bytes = static_cast<std::int64_t>(tensor.element_size());
  for (std::int64_t axis = 1; axis < tensor.dim(); ++axis) bytes *= tensor.size(axis);
  return bytes;
}

}  // namespace bunchtrain::data
