// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Inner loops of the float64 convolution: one row along z, channels last. Raw pointers: needs no LibTorch.

#include <cstdint>

namespace bunchtrain::ops::detail {

/// sum[z, :] += cells[z * stride + place] * weights[place, :] for all z of a row and all places: taps along z
/// and input channels, which lie one after the other.
void add_taps(const double* cells, std::int64_t stride, const double* weights, std::int64_t places,
              double* sum, std::int64_t rows, std::int64_t channels);

/// sum[c, :] += cells[z, c] * gradient[z, :] over all z of a row.
void add_products(const double* cells, std::int64_t inputs, const double* gradient, double* sum,
                  std::int64_t rows, std::int64_t channels);

}  // namespace bunchtrain::ops::detail
