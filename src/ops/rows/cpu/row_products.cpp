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

// Rows that are listed together, and the columns of x that a list has room for.
constexpr std::int64_t kListedTiles = 32, kListed = 256, kListRoom = kListed + 16;

/// Columns of x that are not zero in all rows of a tile; without a list, all.
struct Places {
  const std::int32_t* list = nullptr;
  std::int64_t count = 0;
};

/// The lists of some tiles, on the stack.
class PlaceLists {
 public:
  template <std::size_t height>
  HWY_INLINE void add(const std::array<const float*, height>& rows, std::int64_t in) {
    const hn::CappedTag<std::int32_t, kRowPanel / 2> tag;
    const hn::RebindToFloat<decltype(tag)> numbers;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
    std::int32_t* const begin = room_.data() + tiles_ * kListRoom;
    std::int32_t* to = begin;
    std::int64_t k = 0;
    for (; k + lanes <= in; k += lanes) {
      auto bits = hn::Zero(tag);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < height; ++r)
        bits = hn::Or(bits, hn::BitCast(tag, hn::LoadU(numbers, rows[r] + k)));
      const auto some = hn::Ne(bits, hn::Zero(tag));
      hn::StoreU(hn::Compress(hn::Iota(tag, static_cast<std::int32_t>(k)), some), tag, to);
      to += hn::CountTrue(tag, some);
    }
    for (; k < in; ++k) *to++ = static_cast<std::int32_t>(k);  // fewer than a vector
    counts_[static_cast<std::size_t>(tiles_++)] = to - begin;
  }
  Places operator[](std::int64_t tile) const noexcept {
    return {room_.data() + tile * kListRoom, counts_[static_cast<std::size_t>(tile)]};
  }

 private:
  alignas(64) std::array<std::int32_t, static_cast<std::size_t>(kListedTiles* kListRoom)> room_;
  std::array<std::int64_t, kListedTiles> counts_;
  std::int64_t tiles_ = 0;
};

HWY_INLINE bool is_listed(const RowProduct& p) { return p.skips_zeros && p.in <= kListed; }

template <std::size_t height>
HWY_INLINE void add_column(const float* panel, std::int64_t k, const std::array<const float*, height>& from,
                           Sums<height>& sums) {
  const Tag tag;
  const float* weight = panel + (1 + k) * kRowPanel;
  const Vector a = hn::LoadU(tag, weight), b = hn::LoadU(tag, weight + hn::Lanes(tag));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    const Vector value = hn::Set(tag, from[r][k]);
    sums.left[r] = hn::MulAdd(value, a, sums.left[r]);
    sums.right[r] = hn::MulAdd(value, b, sums.right[r]);
  }
}

template <std::size_t height>
HWY_INLINE void sum_products(const RowProduct& p, const float* panel, const Places& places,
                             const std::array<const float*, height>& from, Sums<height>& sums) {
  const Tag tag;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    sums.left[r] = hn::LoadU(tag, panel);
    sums.right[r] = hn::LoadU(tag, panel + hn::Lanes(tag));
  }
  if (places.list)
    for (std::int64_t i = 0; i < places.count; ++i) add_column(panel, places.list[i], from, sums);
  else
    for (std::int64_t k = 0; k < p.in; ++k) add_column(panel, k, from, sums);
  if (!p.relu) return;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    sums.left[r] = hn::Max(sums.left[r], hn::Zero(tag));
    sums.right[r] = hn::Max(sums.right[r], hn::Zero(tag));
  }
}

/// Of `height` rows from `first` on, behind the last of them the last once more.
template <std::size_t height>
HWY_INLINE std::array<const float*, height> rows_from(const RowProduct& p, const float* x, std::int64_t first,
                                                      std::int64_t rows) {
  std::array<const float*, height> from;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r)
    from[r] = x + std::min(first + static_cast<std::int64_t>(r), rows - 1) * p.in;
  return from;
}

/// `height` rows from `first` on and two vectors of columns.
template <std::size_t height>
HWY_INLINE void multiply_tile(const RowProduct& p, std::int64_t column, const Places& places, const float* x,
                              std::int64_t first, std::int64_t rows, float* y) {
  const Tag tag;
  const std::int64_t columns = std::min(p.out - column, tile_width());
  const bool whole = columns == tile_width();
  Sums<height> sums;
  sum_products(p, panel_of(p, column), places, rows_from<height>(p, x, first, rows), sums);
  std::array<float, kRowPanel> beyond;  // of tiles that reach behind the last column
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    float* const row = y + std::min(first + static_cast<std::int64_t>(r), rows - 1) * p.out + column;
    float* const to = whole ? row : beyond.data();
    hn::StoreU(sums.left[r], tag, to);
    hn::StoreU(sums.right[r], tag, to + hn::Lanes(tag));
    if (!whole) std::copy_n(to, columns, row);
  }
}

constexpr auto kHeight = static_cast<std::int64_t>(kRows);

/// Whether the rows left are as few as fill half a tile.
HWY_INLINE bool is_half(std::int64_t left) { return left <= kHeight / 2; }

void multiply(const RowProduct& p, const float* x, std::int64_t rows, float* y) {
  const bool listed = is_listed(p);
  const std::int64_t together = listed ? kListedTiles * kHeight : std::max<std::int64_t>(rows, 1);
  for (std::int64_t begin = 0; begin < rows; begin += together) {
    const std::int64_t end = std::min(rows, begin + together);
    PlaceLists lists;
    for (std::int64_t row = begin; listed && row < end; row += kHeight)
      is_half(end - row) ? lists.add(rows_from<kRows / 2>(p, x, row, rows), p.in)
                         : lists.add(rows_from<kRows>(p, x, row, rows), p.in);
    for (std::int64_t column = 0; column < p.out; column += tile_width())
      for (std::int64_t row = begin; row < end; row += kHeight) {
        const Places places = listed ? lists[(row - begin) / kHeight] : Places{};
        is_half(end - row) ? multiply_tile<kRows / 2>(p, column, places, x, row, rows, y)
                           : multiply_tile<kRows>(p, column, places, x, row, rows, y);
      }
  }
}

/// Adds `height` rows from x on to two vectors of columns.
template <std::size_t height>
void add_tile(const RowProduct& p, std::int64_t column, const Places& places, const float* x, float* sum) {
  const Tag tag;
  Sums<height> sums;
  sum_products(p, panel_of(p, column), places, rows_from<height>(p, x, 0, height), sums);
  Vector left = hn::LoadU(tag, sum), right = hn::LoadU(tag, sum + hn::Lanes(tag));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < height; ++r) {
    left = hn::Add(left, sums.left[r]);
    right = hn::Add(right, sums.right[r]);
  }
  hn::StoreU(left, tag, sum);
  hn::StoreU(right, tag, sum + hn::Lanes(tag));
}

template <std::size_t height>
void list_tile(const RowProduct& p, const float* x, PlaceLists& lists) {
  lists.add(rows_from<height>(p, x, 0, height), p.in);
}

/// What is done with a tile, by its height less 1.
struct TileCalls {
  void (*add)(const RowProduct&, std::int64_t, const Places&, const float*, float*);
  void (*list)(const RowProduct&, const float*, PlaceLists&);
};

template <std::size_t... less>
constexpr std::array<TileCalls, kRows> tile_calls(std::index_sequence<less...>) {
  return {TileCalls{add_tile<less + 1>, list_tile<less + 1>}...};
}

/// Means of points whose lists fit. k rows are cut into tiles of about the same height: a low one would wait for its sums.
void average_some(const RowProduct& p, const float* x, std::int64_t points, std::int64_t k, float* mean) {
  static constexpr auto kCalls = tile_calls(std::make_index_sequence<kRows>());
  const bool listed = is_listed(p) && k <= kListedTiles * kHeight;
  const float share = 1.0F / static_cast<float>(k);
  const std::int64_t tiles = (k + kHeight - 1) / kHeight, low = k / tiles, high = k % tiles;
  const auto height_of = [=](std::int64_t tile) { return low + (tile % tiles < high ? 1 : 0); };
  PlaceLists lists;
  const float* row = x;
  for (std::int64_t tile = 0; listed && tile < points * tiles; row += height_of(tile++) * p.in)
    kCalls[static_cast<std::size_t>(height_of(tile) - 1)].list(p, row, lists);
  for (std::int64_t column = 0; column < p.out; column += tile_width()) {
    const std::int64_t columns = std::min(p.out - column, tile_width());
    row = x;
    for (std::int64_t point = 0; point < points; ++point) {
      alignas(64) std::array<float, kRowPanel> sum = {};
      for (std::int64_t tile = point * tiles; tile < (point + 1) * tiles; row += height_of(tile++) * p.in)
        kCalls[static_cast<std::size_t>(height_of(tile) - 1)].add(p, column, listed ? lists[tile] : Places{},
                                                                  row, sum.data());
      float* to = mean + point * p.out + column;
      for (std::int64_t c = 0; c < columns; ++c) to[c] = sum[static_cast<std::size_t>(c)] * share;
    }
  }
}

void average(const RowProduct& p, const float* x, std::int64_t points, std::int64_t k, float* mean) {
  const std::int64_t tiles = (k + kHeight - 1) / kHeight;
  const std::int64_t together =
      is_listed(p) ? std::max<std::int64_t>(1, kListedTiles / tiles) : std::max<std::int64_t>(points, 1);
  for (std::int64_t first = 0; first < points; first += together)
    average_some(p, x + first * k * p.in, std::min(together, points - first), k, mean + first * p.out);
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
