// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Products of rows with a small matrix, on one thread: raw pointers, no LibTorch.

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace bunchtrain::ops::detail {

inline constexpr std::int64_t kRowPanel =
    32;  ///< columns that lie together: those of a layer stay in the cache of level 1

/// Memory that begins with a cache line: vectors of 64 bytes that cross lines cost two reads each.
template <class T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  CacheLineAllocator() = default;
  template <class U>
  explicit CacheLineAllocator(const CacheLineAllocator<U>&) noexcept {}
  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* memory, std::size_t) noexcept { ::operator delete(memory, kLine); }
  bool operator==(const CacheLineAllocator&) const noexcept { return true; }
};
using AlignedFloats = std::vector<float, CacheLineAllocator<float>>;

/// A linear layer as inference uses it.
struct RowProduct {
  const float* panels;  ///< what `pack_panels` made
  std::int64_t in, out;
  bool relu;  ///< max(0, .) behind it
  /// x is mostly behind a ReLU: what is zero in all rows of a tile is left out, a third of the edges of a point. Sums have the
  /// same bits, as weights are finite.
  bool skips_zeros = false;
};

/// A matrix [in, out], row-major (the transpose of what a linear layer keeps), and its bias [out], as
/// [out / kRowPanel, 1 + in, kRowPanel]: the bias is the first row of each panel, columns behind the last are 0.
AlignedFloats pack_panels(const float* weight, const float* bias, std::int64_t in, std::int64_t out);

/// y [rows, out] = x [rows, in] weight + bias. Each row is summed in the same order whatever `rows` is. y must not
/// overlap x.
void multiply_rows(const RowProduct& product, const float* x, std::int64_t rows, float* y);

/// mean [points, out] of the k rows of each point, x [points * k, in]: they are multiplied and added while they are in
/// registers. Each point is summed in the same order whatever `points` is.
void average_products(const RowProduct& product, const float* x, std::int64_t points, std::int64_t k,
                      float* mean);

}  // namespace bunchtrain::ops::detail
