// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rows/cpu/row_products.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>
#include <array>

#include "row_products.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, kRowPanel / 2>;
using Vector = hn::Vec<Tag>;

// Rows times two vectors of columns are sums that stay in registers: 16 of 32, or 12 of 16.
#if HWY_TARGET <= HWY_AVX3
constexpr std::size_t kRows = 8;
#else
constexpr std::size_t kRows = 6;
#endif

/// `height` rows from `first` on, behind the last of them the last once more, and two vectors of columns.
template <std::size_t height>
HWY_INLINE void multiply_tile(const RowProduct& p, const float* panel, std::int64_t column, const float* x,
                              std::int64_t first, std::int64_t rows, float* y) {
  const Tag tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
  const std::int64_t columns = std::min(p.out - column, 2 * lanes);
  const bool whole = columns == 2 * lanes;
  std::array<float, height * kRowPanel> beyond;  // of tiles that reach behind the last column
  std::array<const float*, height> from;
  std::array<float*, height> to;
  Vector left[height], right[height];
  for (std::size_t r = 0; r < height; ++r) {
    const std::int64_t row = std::min(first + static_cast<std::int64_t>(r), rows - 1);
    from[r] = x + row * p.in;
    to[r] = whole ? y + row * p.out + column : beyond.data() + r * kRowPanel;
    left[r] = hn::LoadU(tag, panel);
    right[r] = hn::LoadU(tag, panel + lanes);
  }
  const float* weight = panel + kRowPanel;
  for (std::int64_t k = 0; k < p.in; ++k, weight += kRowPanel) {
    const Vector a = hn::LoadU(tag, weight), b = hn::LoadU(tag, weight + lanes);
    for (std::size_t r = 0; r < height; ++r) {
      const Vector value = hn::Set(tag, from[r][k]);
      left[r] = hn::MulAdd(value, a, left[r]);
      right[r] = hn::MulAdd(value, b, right[r]);
    }
  }
  if (p.relu)
    for (std::size_t r = 0; r < height; ++r) {
      left[r] = hn::Max(left[r], hn::Zero(tag));
      right[r] = hn::Max(right[r], hn::Zero(tag));
    }
  for (std::size_t r = 0; r < height; ++r) {
    hn::StoreU(left[r], tag, to[r]);
    hn::StoreU(right[r], tag, to[r] + lanes);
  }
  for (std::size_t r = 0; r < height && !whole; ++r)
    std::copy_n(to[r], columns,
                y + std::min(first + static_cast<std::int64_t>(r), rows - 1) * p.out + column);
}

void multiply(const RowProduct& p, const float* x, std::int64_t rows, float* y) {
  constexpr auto kHeight = static_cast<std::int64_t>(kRows);
  const std::int64_t width = 2 * static_cast<std::int64_t>(hn::Lanes(Tag()));
  for (std::int64_t column = 0; column < p.out; column += width) {
    const float* panel = p.panels + column / kRowPanel * (1 + p.in) * kRowPanel + column % kRowPanel;
    std::int64_t row = 0;
    for (; row + kHeight / 2 < rows; row += kHeight) multiply_tile<kRows>(p, panel, column, x, row, rows, y);
    if (row < rows) multiply_tile<kRows / 2>(p, panel, column, x, row, rows, y);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(multiply);

std::vector<float> pack_panels(const float* weight, const float* bias, std::int64_t in, std::int64_t out) {
  const std::int64_t panels = (out + kRowPanel - 1) / kRowPanel;
  std::vector<float> packed(static_cast<std::size_t>(panels * (1 + in) * kRowPanel), 0.0F);
  float* to = packed.data();
  for (std::int64_t column = 0; column < out; column += kRowPanel) {
    const std::int64_t columns = std::min(kRowPanel, out - column);
    std::copy_n(bias + column, columns, to);
    to += kRowPanel;
    for (std::int64_t k = 0; k < in; ++k, to += kRowPanel)
      std::copy_n(weight + k * out + column, columns, to);
  }
  return packed;
}

void multiply_rows(const RowProduct& product, const float* x, std::int64_t rows, float* y) {
  HWY_DYNAMIC_DISPATCH(multiply)(product, x, rows, y);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
