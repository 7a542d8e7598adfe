// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Products of rows with a small matrix, on one thread: raw pointers, no LibTorch.

#include <cstdint>

namespace bunchtrain::ops::detail {

/// A linear layer as inference uses it.
struct RowProduct {
  const float* weight;  ///< [in, out], row-major: the transpose of what a linear layer keeps
  const float* bias;    ///< [out]
  std::int64_t in, out;
  bool relu;  ///< max(0, .) behind it
};

/// y [rows, out] = x [rows, in] weight + bias. Each row is summed in the same order whatever `rows` is. y must not
/// overlap x.
void multiply_rows(const RowProduct& product, const float* x, std::int64_t rows, float* y);

}  // namespace bunchtrain::ops::detail
