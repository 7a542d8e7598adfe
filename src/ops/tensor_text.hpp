// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors in error messages.

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

namespace bunchtrain::ops::detail {

/// "[2, 128, 16] Float on cuda:0".
inline std::string tensor_text(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  const auto sizes = tensor.sizes();
  return fmt::format("[{}] {} on {}", fmt::join(sizes.begin(), sizes.end(), ", "),
                     c10::toString(tensor.scalar_type()), tensor.device().str());
}

}  // namespace bunchtrain::ops::detail
