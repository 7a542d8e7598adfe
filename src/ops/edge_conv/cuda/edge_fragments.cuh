// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tiles of edges in shared memory and a warp's products of them: on tensor cores, or of exact float32 by FMA, with the
/// numbers of a result in the same lanes.

#include <type_traits>

#include "bunchtrain/device/detail/mma.cuh"
#include "exact_float.cuh"

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

template <class S>
constexpr bool kIsExact = std::is_same_v<S, ExactFloat>;

/// Depth of one product.
template <class S>
constexpr int kDepthOf = kIsExact<S> ? 4 : 32 / sizeof(S);

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

template <int kCount>
__device__ void round_to_tf32(unsigned (&registers)[kCount]) {
#pragma unroll
  for (unsigned& bits : registers) bits = device::to_tf32(__uint_as_float(bits));
}

/// What a lane's numbers of an exact product are made of: rows `group` and `group` + 8 of A, or columns 2 `place` and
/// 2 `place` + 1 of B, with group = lane / 4 and place = lane % 4.
struct ExactPair {
  float values[2][kDepthOf<ExactFloat>];
};

template <class S>
using OperandA = std::conditional_t<kIsExact<S>, ExactPair, FragmentA>;
template <class S>
using OperandB = std::conditional_t<kIsExact<S>, ExactPair, FragmentB>;

/// Numbers of one row of a tile, from `depth` on.
template <int kColumns, int kCount>
__device__ void load_depth(const SharedTile<ExactFloat, kColumns>& tile, int row, int depth,
                           float (&x)[kCount]) {
  const auto pack = *reinterpret_cast<const device::Pack<ExactFloat, kCount>*>(tile.at(row, depth));
#pragma unroll
  for (int i = 0; i < kCount; ++i) x[i] = pack.values[i].value;
}

/// A of [16, depth] from (row, depth) of a tile stored [rows, depth].
template <class S, int kColumns>
__device__ OperandA<S> load_a(const SharedTile<S, kColumns>& tile, int row, int depth) {
  const int lane = lane_of_warp();
  OperandA<S> a;
  if constexpr (kIsExact<S>) {
    for (int half = 0; half < 2; ++half) load_depth(tile, row + lane / 4 + 8 * half, depth, a.values[half]);
  } else {
    device::ldmatrix<4>(a.registers,
                        tile.at(row + lane % 16, depth + lane / 16 * SharedTile<S, kColumns>::kChunk));
    if constexpr (sizeof(S) == 4) round_to_tf32(a.registers);
  }
  return a;
}

/// The same of a tile stored [depth, rows].
template <class S, int kColumns>
__device__ OperandA<S> load_a_transposed(const SharedTile<S, kColumns>& tile, int row, int depth) {
  const int lane = lane_of_warp();
  OperandA<S> a;
  if constexpr (kIsExact<S>) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int k = 0; k < kDepthOf<S>; ++k)
        a.values[half][k] = tile.at(depth + k, row + lane / 4 + 8 * half)->value;
  } else if constexpr (sizeof(S) == 2) {
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
template <class S>
struct OperandsB {
  OperandB<S> first, second;
};

/// From (column, depth) of a tile stored [columns, depth].
template <class S, int kColumns>
__device__ OperandsB<S> load_b(const SharedTile<S, kColumns>& tile, int column, int depth) {
  const int lane = lane_of_warp();
  if constexpr (kIsExact<S>) {
    OperandsB<S> b;
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
      load_depth(tile, column + lane % 4 * 2 + odd, depth, b.first.values[odd]);
      load_depth(tile, column + lane % 4 * 2 + odd + 8, depth, b.second.values[odd]);
    }
    return b;
  } else {
    unsigned both[4];
    device::ldmatrix<4>(both, tile.at(column + lane % 8 + lane / 16 * 8,
                                      depth + lane / 8 % 2 * SharedTile<S, kColumns>::kChunk));
    if constexpr (sizeof(S) == 4) round_to_tf32(both);
    return {{{both[0], both[1]}}, {{both[2], both[3]}}};
  }
}

/// The same of a tile stored [depth, columns].
template <class S, int kColumns>
__device__ OperandsB<S> load_b_transposed(const SharedTile<S, kColumns>& tile, int column, int depth) {
  const int lane = lane_of_warp();
  if constexpr (kIsExact<S>) {
    OperandsB<S> b;
#pragma unroll
    for (int k = 0; k < kDepthOf<S>; ++k) {
      float first[2], second[2];
      load_depth(tile, depth + k, column + lane % 4 * 2, first);
      load_depth(tile, depth + k, column + lane % 4 * 2 + 8, second);
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        b.first.values[odd][k] = first[odd];
        b.second.values[odd][k] = second[odd];
      }
    }
    return b;
  } else {
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
}

template <class S>
__device__ void multiply(FragmentC& c, const OperandA<S>& a, const OperandB<S>& b) {
  if constexpr (kIsExact<S>) {
#pragma unroll
    for (int k = 0; k < kDepthOf<S>; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i) c.values[i] = fmaf(a.values[i / 2][k], b.values[i % 2][k], c.values[i]);
  } else if constexpr (sizeof(S) == 4) {
    device::mma_m16n8k8_tf32(c, a, b);
  } else {
    device::mma_m16n8k16<__nv_bfloat16>(c, a, b);
  }
}

/// c += a b over kDepth. `a_of(i, depth)` gives the fragment of rows 16 i, `b_of(i, depth)` those of columns
/// 16 i and 16 i + 8.
template <class S, int kDepth, int kM, int kN, class AOf, class BOf>
__device__ void add_products(FragmentC (&c)[kM][kN], AOf a_of, BOf b_of) {
  static_assert(kN % 2 == 0);
#pragma unroll 2
  for (int depth = 0; depth < kDepth; depth += kDepthOf<S>) {
    OperandA<S> a[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m) a[m] = a_of(m, depth);
#pragma unroll
    for (int n = 0; n < kN / 2; ++n) {
      const OperandsB<S> b = b_of(n, depth);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply<S>(c[m][2 * n], a[m], b.first);
        multiply<S>(c[m][2 * n + 1], a[m], b.second);
      }
    }
  }
}

/// Two neighbours of a row as stored, read and written at once.
template <class S>
struct alignas(8) EdgePair {
  S numbers[2];

  static __device__ EdgePair of(float first, float second) {
    EdgePair pair;
    device::narrow(first, pair.numbers[0]);
    device::narrow(second, pair.numbers[1]);
    return pair;
  }
  __device__ float value(int odd) const { return device::widened(numbers[odd]); }
};
template <>
struct EdgePair<Bf16> {
  unsigned bits;

  static __device__ EdgePair of(float first, float second) {
    Bf16 numbers[2];
    device::narrow(first, numbers[0]);
    device::narrow(second, numbers[1]);
    return {static_cast<unsigned>(numbers[1].bits) << 16 | numbers[0].bits};
  }
  __device__ float value(int odd) const {
    return __uint_as_float(odd != 0 ? bits & 0xFFFF0000u : bits << 16);
  }
};

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
