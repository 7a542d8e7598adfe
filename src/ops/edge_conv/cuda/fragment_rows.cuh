// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the fragments of a product straight to rows in global memory and to sums over rows, without shared memory.
/// Lanes 4 g to 4 g + 3 hold parts of row g.

#include "training_pass.cuh"

namespace bunchtrain::ops::detail {

/// What a warp holds of rows of a tile [kTileRows, kColumns]: pairs by 16 rows, by half of those, by 8 columns.
///
/// Narrow rows are moved by 8 bytes: the lanes of neighbouring columns swap pairs, so that 4 lanes have 32 bytes of a row
/// side by side.
template <class Shape>
struct FragmentRows {
  using S = typename Shape::S;
  using Pair = EdgePair<S>;
  static constexpr int kM = Shape::kM, kN = Shape::kN;
  static constexpr bool kNarrow = sizeof(S) == 2;
  Pair pairs[kM][2][kN];

  __device__ explicit FragmentRows(const FragmentC (&c)[kM][kN]) {
    for_rows([&](int m, int half) {
#pragma unroll
      for (int n = 0; n < kN; ++n)
        pairs[m][half][n] = Pair::of(c[m][n].values[2 * half], c[m][n].values[2 * half + 1]);
    });
  }
  /// Those of `rows` [.., kWidth]: as they are moved until `swap`. Zeros of nodes that do not exist.
  __device__ FragmentRows(const EdgeTile& tile, const S* rows) {
    for_rows([&](int m, int half) {
      const S* row = row_of(tile, m, half, rows);
#pragma unroll
      for (int n = 0; n < kN; n += kMoved) load(row, moved_column(n), pairs[m][half] + n);
    });
  }
  /// Between what lanes hold of fragments and what they move.
  __device__ void swap() {
    if constexpr (kNarrow) {
      const bool odd = lane_of_warp() % 2 != 0;
      for_rows([&](int m, int half) {
#pragma unroll
        for (int n = 0; n < kN; n += 2) {
          unsigned &first = pairs[m][half][n].bits, &second = pairs[m][half][n + 1].bits;
          const unsigned other = __shfl_xor_sync(0xFFFFFFFFu, odd ? first : second, 1);
          if (odd)
            first = other;
          else
            second = other;
        }
      });
    }
  }
  /// Into `rows`, of the nodes that there are, as they are moved.
  __device__ void store(const EdgeTile& tile, S* rows) const {
    for_rows([&](int m, int half) {
      S* row = row_of(tile, m, half, rows);
      if (row == nullptr) return;
#pragma unroll
      for (int n = 0; n < kN; n += kMoved)
        *reinterpret_cast<Moved*>(row + moved_column(n)) = moved(pairs[m][half] + n);
    });
  }

 private:
  static constexpr int kMoved = kNarrow ? 2 : 1;  ///< pairs
  using Moved = device::Pack<unsigned, 2>;

  template <class Use>
  static __device__ void for_rows(Use use) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) use(m, half);
  }
  /// nullptr of nodes that do not exist.
  template <class Rows>
  static __device__ Rows* row_of(const EdgeTile& tile, int m, int half, Rows* rows) {
    const int row = Shape::warp_row() + 16 * m + 8 * half + lane_of_warp() / 4;
    if (row / kEdgesOfNode >= tile.nodes) return nullptr;
    return rows + (tile.first * kEdgesOfNode + row) * Shape::kWidth + Shape::first_column() +
           Shape::warp_column();
  }
  static __device__ int moved_column(int n) {
    const int place = lane_of_warp() % 4;
    return kNarrow ? 8 * (n + place % 2) + 2 * (place - place % 2) : 8 * n + 2 * place;
  }
  static __device__ Moved moved(const Pair* from) {
    if constexpr (kNarrow)
      return {{from[0].bits, from[1].bits}};
    else
      return {{__float_as_uint(from->value(0)), __float_as_uint(from->value(1))}};
  }
  static __device__ void load(const S* row, int column, Pair* to) {
    const Moved both = row != nullptr ? *reinterpret_cast<const Moved*>(row + column) : Moved{};
    if constexpr (kNarrow) {
      to[0].bits = both.values[0];
      to[1].bits = both.values[1];
    } else {
      *to = Pair::of(__uint_as_float(both.values[0]), __uint_as_float(both.values[1]));
    }
  }
};

/// Adds up x[i] over the lanes of all rows, in an order that does not depend on kCount: each lane has
/// kCount / 8 of the sums in the end, or one of kCount < 8 that it shares with others.
template <int kStep, int kCount, int kSize>
__device__ void add_over_rows(float (&x)[kSize]) {
  if constexpr (kStep >= 4) {
    constexpr int kHalf = kCount > 1 ? kCount / 2 : 1;
    const bool upper = kCount > 1 && (lane_of_warp() & kStep) != 0;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      const float kept = upper ? x[(kHalf + i) % kCount] : x[i],
                  sent = upper ? x[i] : x[(kHalf + i) % kCount];
      x[i] = kept + __shfl_xor_sync(0xFFFFFFFFu, sent, kStep);
    }
    add_over_rows<kStep / 2, kHalf>(x);
  }
}

/// Which sums of 2 kN columns, two of each 8, a lane has after `add_over_rows`.
template <int kN>
struct OwnSums {
  static constexpr int kCount = 2 * kN, kOwn = kCount < 8 ? 1 : kCount / 8;

  /// One lane of those that share sums.
  static __device__ bool is_told() { return kCount >= 8 || lane_of_warp() % 8 < 4; }
  static __device__ int column(int i) {
    const int lane = lane_of_warp();
    const int number =
        (lane & 16 ? kCount / 2 : 0) + (lane & 8 ? kCount / 4 : 0) + (lane & 4 ? kCount / 8 : 0) + i;
    return number / 2 * 8 + lane % 4 * 2 + number % 2;
  }
};

/// Sums over the rows of a block's tiles by column: in float over the 32 rows that a warp has of a tile, in double over
/// tiles, then over both warps of a column in their order. The same bits whatever the columns of a block are.
template <class Shape>
struct FragmentSums {
  using Own = OwnSums<Shape::kN>;
  static constexpr int kColumns = Shape::kColumns;
  double sum[Own::kOwn] = {}, product[Own::kOwn] = {};

  /// `terms(m, half, n, odd, first, second)` gives what a row adds.
  template <class Terms>
  __device__ void add_tile(Terms terms) {
    float firsts[Own::kCount] = {}, seconds[Own::kCount] = {};
#pragma unroll
    for (int i = 0; i < Own::kCount; ++i)
#pragma unroll
      for (int row = 0; row < 2 * Shape::kM; ++row) {
        float first, second;
        terms(row / 2, row % 2, i / 2, i % 2, first, second);
        firsts[i] += first;
        seconds[i] += second;
      }
    add_over_rows<16, Own::kCount>(firsts);
    add_over_rows<16, Own::kCount>(seconds);
#pragma unroll
    for (int i = 0; i < Own::kOwn; ++i) {
      sum[i] += static_cast<double>(firsts[i]);
      product[i] += static_cast<double>(seconds[i]);
    }
  }

  static constexpr std::size_t kBytes = 4 * kColumns * sizeof(double);

  /// Writes the block's row of partial sums [2 channels + 1]; `shared` [kBytes]. All threads come here, none has to do with
  /// `shared` any more.
  __device__ void write(double* shared, int channels, double count, double* partials) const {
    const int part = Shape::warp_row() == 0 ? 0 : 1;
    if (Own::is_told())
#pragma unroll
      for (int i = 0; i < Own::kOwn; ++i) {
        const int column = Shape::warp_column() + Own::column(i);
        shared[part * kColumns + column] = sum[i];
        shared[(2 + part) * kColumns + column] = product[i];
      }
    __syncthreads();
    double* row = partials + std::int64_t{blockIdx.x} * (2 * channels + 1);
    if (threadIdx.x == 0 && blockIdx.y == 0) row[2 * channels] = count;
    const int column = static_cast<int>(threadIdx.x), channel = Shape::first_column() + column;
    if (column >= kColumns || channel >= channels) return;
    row[channel] = shared[column] + shared[kColumns + column];
    row[channels + channel] = shared[2 * kColumns + column] + shared[3 * kColumns + column];
  }
};

}  // namespace bunchtrain::ops::detail
