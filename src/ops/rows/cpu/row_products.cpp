// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rows/cpu/row_products.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>
#include <array>
#include <utility>

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

/// Two vectors of columns of each of some rows. Loops over rows are unrolled by pragma: GCC does so too late otherwise, and
/// sums lie in memory between loops.
template <std::size_t height>
struct Sums {
  Vector left[height], right[height];
};

/// Columns that a tile is wide.
HWY_INLINE std::int64_t tile_width() { return 2 * static_cast<std::int64_t>(hn::Lanes(Tag())); }

/// Where the tile's columns of the bias and the matrix begin.
HWY_INLINE const float* panel_of(const RowProduct& p, std::int64_t column) {
  return p.panels + column / kRowPanel * (1 + p.in) * kRowPanel + column % kRowPanel;
}

template <std::size_t height>
HWY_INLINE void sum_products(const RowProduct& p, const float* panel,
                             const std::array<const float*, height>& from, Sums<height>& sums) {
  const Tag tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    sums.left[r] = hn::LoadU(tag, panel);
    sums.right[r] = hn::LoadU(tag, panel + lanes);
  }
  const float* weight = panel + kRowPanel;
  for (std::int64_t k = 0; k < p.in; ++k, weight += kRowPanel) {
    const Vector a = hn::LoadU(tag, weight), b = hn::LoadU(tag, weight + lanes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < height; ++r) {
      const Vector value = hn::Set(tag, from[r][k]);
      sums.left[r] = hn::MulAdd(value, a, sums.left[r]);
      sums.right[r] = hn::MulAdd(value, b, sums.right[r]);
    }
  }
  if (!p.relu) return;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    sums.left[r] = hn::Max(sums.left[r], hn::Zero(tag));
    sums.right[r] = hn::Max(sums.right[r], hn::Zero(tag));
  }
}

/// `height` rows from `first` on, behind the last of them the last once more, and two vectors of columns.
template <std::size_t height>
HWY_INLINE void multiply_tile(const RowProduct& p, const float* panel, std::int64_t column, const float* x,
                              std::int64_t first, std::int64_t rows, float* y) {
  const Tag tag;
  const std::int64_t columns = std::min(p.out - column, tile_width());
  const bool whole = columns == tile_width();
  std::array<float, height * kRowPanel> beyond;  // of tiles that reach behind the last column
  std::array<const float*, height> from;
  std::array<float*, height> to;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    const std::int64_t row = std::min(first + static_cast<std::int64_t>(r), rows - 1);
    from[r] = x + row * p.in;
    to[r] = whole ? y + row * p.out + column : beyond.data() + r * kRowPanel;
  }
  Sums<height> sums;
  sum_products(p, panel, from, sums);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    hn::StoreU(sums.left[r], tag, to[r]);
    hn::StoreU(sums.right[r], tag, to[r] + tile_width() / 2);
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height && !whole; ++r)
    std::copy_n(to[r], columns,
                y + std::min(first + static_cast<std::int64_t>(r), rows - 1) * p.out + column);
}

void multiply(const RowProduct& p, const float* x, std::int64_t rows, float* y) {
  constexpr auto kHeight = static_cast<std::int64_t>(kRows);
  for (std::int64_t column = 0; column < p.out; column += tile_width()) {
    const float* panel = panel_of(p, column);
    std::int64_t row = 0;
    for (; row + kHeight / 2 < rows; row += kHeight) multiply_tile<kRows>(p, panel, column, x, row, rows, y);
    if (row < rows) multiply_tile<kRows / 2>(p, panel, column, x, row, rows, y);
  }
}

/// Adds `height` rows from x on to two vectors of columns.
template <std::size_t height>
void add_tile(const RowProduct& p, const float* panel, const float* x, float* sum) {
  const Tag tag;
  std::array<const float*, height> from;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) from[r] = x + static_cast<std::int64_t>(r) * p.in;
  Sums<height> sums;
  sum_products(p, panel, from, sums);
  Vector left = hn::LoadU(tag, sum), right = hn::LoadU(tag, sum + tile_width() / 2);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    left = hn::Add(left, sums.left[r]);
    right = hn::Add(right, sums.right[r]);
  }
  hn::StoreU(left, tag, sum);
  hn::StoreU(right, tag, sum + tile_width() / 2);
}

using AddTile = void (*)(const RowProduct&, const float*, const float*, float*);

template <std::size_t... less>
constexpr std::array<AddTile, kRows> add_tiles(std::index_sequence<less...>) {
  return {add_tile<less + 1>...};
}

/// k rows are cut into tiles of about the same height: a low one would wait for its sums.
void average(const RowProduct& p, const float* x, std::int64_t points, std::int64_t k, float* mean) {
  static constexpr auto kAddTiles = add_tiles(std::make_index_sequence<kRows>());
  constexpr auto kHeight = static_cast<std::int64_t>(kRows);
  const float share = 1.0F / static_cast<float>(k);
  const std::int64_t tiles = (k + kHeight - 1) / kHeight, low = k / tiles, high = k % tiles;
  for (std::int64_t column = 0; column < p.out; column += tile_width()) {
    const float* panel = panel_of(p, column);
    const std::int64_t columns = std::min(p.out - column, tile_width());
    const float* row = x;
    for (std::int64_t point = 0; point < points; ++point) {
      alignas(64) std::array<float, kRowPanel> sum = {};
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        const std::int64_t height = low + (tile < high ? 1 : 0);
        kAddTiles[static_cast<std::size_t>(height - 1)](p, panel, row, sum.data());
        row += height * p.in;
      }
      float* to = mean + point * p.out + column;
      for (std::int64_t c = 0; c < columns; ++c) to[c] = sum[static_cast<std::size_t>(c)] * share;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(multiply);
HWY_EXPORT(average);

AlignedFloats pack_panels(const float* weight, const float* bias, std::int64_t in, std::int64_t out) {
  const std::int64_t panels = (out + kRowPanel - 1) / kRowPanel;
  AlignedFloats packed(static_cast<std::size_t>(panels * (1 + in) * kRowPanel), 0.0F);
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

void average_products(const RowProduct& product, const float* x, std::int64_t points, std::int64_t k,
                      float* mean) {
  HWY_DYNAMIC_DISPATCH(average)(product, x, points, k, mean);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
