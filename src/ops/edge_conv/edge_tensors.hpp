// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the tensors of an edge operation to what its kernels take: sizes, pointers and the storage type.

#include <ATen/core/Tensor.h>

#include "edge_conv/cpu/edge_simd.hpp"

namespace bunchtrain::ops::detail {

inline EdgeShape shape_of(const at::Tensor& v, const at::Tensor& indices) {
  return {v.size(1), indices.size(2), v.size(2)};
}

template <class T>
T* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

/// Calls `body` with a null pointer of the type whose kernels serve `type`.
template <class Body>
void for_type(at::ScalarType type, const Body& body) {
  if (type == at::kFloat) {
    body(static_cast<float*>(nullptr));
  } else if (type == at::kDouble) {
    body(static_cast<double*>(nullptr));
  } else if (type == at::kBFloat16) {
    body(static_cast<Bf16*>(nullptr));
  } else {
    body(static_cast<Fp16*>(nullptr));
  }
}

}  // namespace bunchtrain::ops::detail
