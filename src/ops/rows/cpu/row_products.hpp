// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Products of rows with a small matrix, on one thread: raw pointers, no LibTorch.

#include <cstdint>
#include <vector>

namespace bunchtrain::ops::detail {

inline constexpr std::int64_t kRowPanel =
    32;  ///< columns that lie together: those of a layer stay in the cache of level 1

/// A linear layer as inference uses it.
struct RowProduct {
  const float* panels;  ///< what `pack_panels` made
  std::int64_t in, out;
  bool relu;  ///< max(0, .) behind it
};

/// A matrix [in, out], row-major (the transpose of what a linear layer keeps), and its bias [out], as
/// [out / kRowPanel, 1 + in, kRowPanel]: the bias is the first row of each panel, columns behind the last are 0.
std::vector<float> pack_panels(const float* weight, const float* bias, std::int64_t in, std::int64_t out);

/// y [rows, out] = x [rows, in] weight + bias. Each row is summed in the same order whatever `rows` is. y must not
/// overlap x.
void multiply_rows(const RowProduct& product, const float* x, std::int64_t rows, float* y);

}  // namespace bunchtrain::ops::detail
