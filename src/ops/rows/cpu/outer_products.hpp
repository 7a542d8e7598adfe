// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The gradient of a linear layer's weight, on one thread: raw pointers, no LibTorch.

#include <cstdint>

namespace bunchtrain::ops::detail {

/// sum [out, in] += dy^T x for dy [rows, out] and x [rows, in], row after row. `sum` must not overlap the others.
void add_outer_products(const float* dy, const float* x, std::int64_t rows, std::int64_t out, std::int64_t in,
                        float* sum);

}  // namespace bunchtrain::ops::detail
