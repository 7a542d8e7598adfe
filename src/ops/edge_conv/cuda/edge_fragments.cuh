// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tiles of edges in shared memory and a warp's products of them.

#include "bunchtrain/device/detail/mma.cuh"
#include "bunchtrain/device/detail/storage.cuh"

namespace bunchtrain::ops::detail {

using device::FragmentA;
using device::FragmentB;
using device::FragmentC;

/// Rows of kColumns numbers in shared memory. Chunks of 16 bytes are permuted within groups of 8, by the row:
/// both 8 rows of one chunk and 8 chunks of one row meet all banks once, without padding.
template <class S, int kColumns>
struct SharedTile {
  static_assert(kColumns * sizeof(S) >= 128);
  static constexpr int kChunk = device::kPack<S>;
  S* data;

  __device__ S* at(int row, int column) const {
    return data + row * kColumns + (column / kChunk ^ row % 8) * kChunk + column % kChunk;
  }
};

/// Depth of one product.
template <class S>
constexpr int kDepthOf = 32 / sizeof(S);

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

template <int kCount>
__device__ void round_to_tf32(unsigned (&registers)[kCount]) {
#pragma unroll
  for (unsigned& bits : registers) bits = device::to_tf32(__uint_as_float(bits));
}

/// A of [16, depth] from (row, depth) of a tile stored [rows, depth].
template <class S, int kColumns>
__device__ FragmentA load_a(const SharedTile<S, kColumns>& tile, int row, int depth) {
  const int lane = lane_of_warp();
  FragmentA a;
  device::ldmatrix<4>(a.registers,
                      tile.at(row + lane % 16, depth + lane / 16 * SharedTile<S, kColumns>::kChunk));
  if constexpr (sizeof(S) == 4) round_to_tf32(a.registers);
  return a;
}

/// The same of a tile stored [depth, rows].
template <class S, int kColumns>
__device__ FragmentA load_a_transposed(const SharedTile<S, kColumns>& tile, int row, int depth) {
  const int lane = lane_of_warp();
  FragmentA a;
  if constexpr (sizeof(S) == 2) {
    device::ldmatrix_trans<4>(a.registers, tile.at(depth + lane / 16 * 8 + lane % 8, row + lane / 8 % 2 * 8));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      a.registers[i] = __float_as_uint(*tile.at(depth + lane % 4 + i / 2 * 4, row + lane / 4 + i % 2 * 8));
    round_to_tf32(a.registers);
  }
  return a;
}

/// Two neighbouring B of [depth, 8].
struct FragmentsB {
  FragmentB first, second;
};

/// From (column, depth) of a tile stored [columns, depth].
template <class S, int kColumns>
__device__ FragmentsB load_b(const SharedTile<S, kColumns>& tile, int column, int depth) {
  const int lane = lane_of_warp();
  unsigned both[4];
  device::ldmatrix<4>(both, tile.at(column + lane % 8 + lane / 16 * 8,
                                    depth + lane / 8 % 2 * SharedTile<S, kColumns>::kChunk));
  if constexpr (sizeof(S) == 4) round_to_tf32(both);
  return {{{both[0], both[1]}}, {{both[2], both[3]}}};
}

/// The same of a tile stored [depth, columns].
template <class S, int kColumns>
__device__ FragmentsB load_b_transposed(const SharedTile<S, kColumns>& tile, int column, int depth) {
  const int lane = lane_of_warp();
  unsigned both[4];
  if constexpr (sizeof(S) == 2) {
    device::ldmatrix_trans<4>(both, tile.at(depth + lane % 16, column + lane / 16 * 8));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      both[i] = __float_as_uint(*tile.at(depth + lane % 4 + i % 2 * 4, column + lane / 4 + i / 2 * 8));
    round_to_tf32(both);
  }
  return {{{both[0], both[1]}}, {{both[2], both[3]}}};
}

template <class S>
__device__ void multiply(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  if constexpr (sizeof(S) == 4)
    device::mma_m16n8k8_tf32(c, a, b);
  else
    device::mma_m16n8k16<__nv_bfloat16>(c, a, b);
}

/// c += a b over kDepth. `a_of(i, depth)` gives the fragment of rows 16 i, `b_of(i, depth)` those of columns
/// 16 i and 16 i + 8.
template <class S, int kDepth, int kM, int kN, class AOf, class BOf>
__device__ void add_products(FragmentC (&c)[kM][kN], AOf a_of, BOf b_of) {
  static_assert(kN % 2 == 0);
  for (int depth = 0; depth < kDepth; depth += kDepthOf<S>) {
    FragmentA a[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m) a[m] = a_of(m, depth);
#pragma unroll
    for (int n = 0; n < kN / 2; ++n) {
      const FragmentsB b = b_of(n, depth);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply<S>(c[m][2 * n], a[m], b.first);
        multiply<S>(c[m][2 * n + 1], a[m], b.second);
      }
    }
  }
}

/// Calls `visit(row, column, value)` for each number that this lane holds of c.
template <int kM, int kN, class Visit>
__device__ void for_values(const FragmentC (&c)[kM][kN], Visit visit) {
  const int group = lane_of_warp() / 4, place = lane_of_warp() % 4;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        visit(16 * m + group + i / 2 * 8, 8 * n + 2 * place + i % 2, c[m][n].values[i]);
}

}  // namespace bunchtrain::ops::detail
