// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors on the CPU as the storage types of the loops over rows.

#include <ATen/core/Tensor.h>

#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// Calls `call` with a value of the storage type of `x`.
template <class Call>
void for_storage(const at::Tensor& x, Call&& call) {
  if (x.scalar_type() == at::kDouble) return call(double{});
  if (x.scalar_type() == at::kFloat) return call(float{});
  call(Bf16{});
}

template <class S>
const S* data_of(const at::Tensor& x) {
  return static_cast<const S*>(x.const_data_ptr());
}

}  // namespace bunchtrain::ops::detail
