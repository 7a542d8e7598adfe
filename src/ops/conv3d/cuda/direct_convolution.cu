// SPDX-License-Identifier: Apache-2.0
// Convolutions with steps of 1 as products on tensor cores: outputs are rows, channels of the result columns.
#include "direct_cells.cuh"

namespace bunchtrain::ops::detail {
namespace {

/// Numbers of the weight that a step takes for 8 columns: 2 halves of its depth, 8 columns, a chunk each.
template <class S>
constexpr int kStepNumbers = 16 * kChunkOf<S>;

constexpr int kPackThreads = 256;

/// What half of a step a lane loads rows of.
__device__ int half_of_lane() { return lane_of_warp() / 16; }

template <class S>
__global__ void pack_weight_kernel(DirectTiles tiles, DirectWeight shape, const S* weight, S* packed,
                                   std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kPackThreads + threadIdx.x;
  if (i >= count) return;
  const int place = static_cast<int>(i % kChunkOf<S>), row = static_cast<int>(i / kChunkOf<S> % 8),
            half = static_cast<int>(i / (8 * kChunkOf<S>) % 2);
  const std::int64_t block = i / kStepNumbers<S>;
  const int column = static_cast<int>(block % tiles.groups) * 8 + row;
  const std::int64_t step_of_all = block / tiles.groups;
  const int step = static_cast<int>(step_of_all % tiles.steps),
            octet = static_cast<int>(step_of_all / tiles.steps);
  constexpr bool kHalfIsTap = kOctetPlanes<S> == 1;
  const int tap = kHalfIsTap ? 2 * step + half : step;
  const int channel = octet * kOctet + (kHalfIsTap ? 0 : half * kChunkOf<S>)+place;
  S value = {};
  if (column < shape.columns && channel < shape.channels && tap < tiles.taps) {
    const std::int64_t from =
        shape.mirrored ? (std::int64_t{channel} * shape.columns + column + 1) * tiles.taps - 1 - tap
                       : (std::int64_t{column} * shape.channels + channel) * tiles.taps + tap;
    value = rounded(weight[from]);
  }
  packed[i] = value;
}

/// Where the halves of each step lie behind an output's first cell, in chunks.
template <class S>
__device__ void list_offsets(const DirectTiles& tiles, int steps, int* offsets) {
  for (int i = static_cast<int>(threadIdx.x); i < 2 * steps; i += kDirectThreads)
    offsets[i] = kOctetPlanes<S> == 1 ? tap_offset(tiles, i) : tap_offset(tiles, i / 2) + i % 2 * tiles.pitch;
}

template <class S, int kN>
__device__ void load_weights(const S* weights, FragmentB (&b)[kN]) {
  if constexpr (kN == 1) {
    device::ldmatrix<2>(b[0].registers, weights + lane_of_warp() % 16 * kChunkOf<S>);
  } else {
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      unsigned both[4];
      device::ldmatrix<4>(both, weights + n * kStepNumbers<S> + lane_of_warp() * kChunkOf<S>);
      b[n] = {{both[0], both[1]}};
      b[n + 1] = {{both[2], both[3]}};
    }
  }
}

/// Copies the steps [first, first + count) of a block's columns.
template <class S, int kN>
__device__ void fill_stage(S* to, const DirectTiles& tiles, const S* packed, std::int64_t first, int count) {
  constexpr int kChunks = kN * 16;
  for (int i = static_cast<int>(threadIdx.x); i < count * kChunks; i += kDirectThreads) {
    const std::int64_t step = first + i / kChunks;
    const S* from = packed + (step * tiles.groups + std::int64_t{blockIdx.y} * kN) * kStepNumbers<S>;
    *reinterpret_cast<Chunk<S>*>(to + i * kChunkOf<S>) =
        *reinterpret_cast<const Chunk<S>*>(from + i % kChunks * kChunkOf<S>);
  }
}

template <class S, int kM, int kN>
__device__ void store_outputs(const FragmentC (&c)[kM][kN], const BlockTile& block, int columns,
                              const S* bias, const PhasedImage<S>& target) {
  const int group = lane_of_warp() / 4, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (m * kDirectWarps + warp) * 16 + half * 8 + group;
      if (row >= block.rows()) continue;
      const Cell cell = block.output(row);
#pragma unroll
      for (int i = 0; i < 2 * kN; ++i) {
        const int column = (static_cast<int>(blockIdx.y) * kN + i / 2) * 8 + lane_of_warp() % 4 * 2 + i % 2;
        const std::int64_t place = column < columns ? place_of(target, block.image, cell, column) : -1;
        if (place < 0) continue;
        const float offset = bias ? device::widened(bias[column % target.channels]) : 0.0F;
        device::narrow(c[m][i / 2].values[2 * half + i % 2] + offset, target.data[place]);
      }
    }
}

//   formula    target[o, n] = bias[n] + sum over taps and channels of source[o + tap - before, c] weight[n, c, tap]
//
//   tiling     a block owns tiles.tile outputs of an image and 8 kN columns; a warp every eighth 16 of the outputs, kM times,
//              with all columns. Channels come in slices of octets, weights in stages of steps: a step is two taps of an
//              octet (bfloat16) or one (tf32). Rows of operands are read where the cells lie: 8 cells along z are one
//              matrix, which meets every bank once
//
//   shared     cells [slice, halo, 8] and weights [stage, 8 kN columns, depth] of S, offsets of taps: 96 KB at most
//
//   bound      shared memory: a matrix of rows per product
template <class S, int kM, int kN>
__global__ void __launch_bounds__(kDirectThreads)
    convolution_kernel(DirectTiles tiles, PhasedImage<const S> source, const S* packed, const S* bias,
                       PhasedImage<S> target) {
  S* cells = device::dynamic_shared<S>();
  S* weights = cells + tiles.slice * kOctet * tiles.pitch;
  const int steps = tiles.steps;
  int* offsets = reinterpret_cast<int*>(weights + tiles.stage * kN * kStepNumbers<S>);
  list_offsets<S>(tiles, steps, offsets);
  const BlockTile block(tiles, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  int first_cell[kM];
#pragma unroll
  for (int m = 0; m < kM; ++m)
    first_cell[m] = block.first_cell(tiles, (m * kDirectWarps + warp) * 16 + lane_of_warp() % 16);
  const int fragments = (block.rows() + 15) / 16;  // those of this warp are every eighth

  FragmentC c[kM][kN] = {};
  for (int octet = 0; octet < tiles.octets; octet += tiles.slice) {
    const int all = min(tiles.slice, tiles.octets - octet) * steps;
    int step = 0, plane = 0;
    for (int done = 0; done < all; done += tiles.stage) {
      const int count = min(tiles.stage, all - done);
      __syncthreads();
      if (done == 0) fill_cells(cells, tiles, source, block, octet * kOctet, all / steps * kOctetPlanes<S>);
      fill_stage<S, kN>(weights, tiles, packed, std::int64_t{octet} * steps + done, count);
      __syncthreads();
      for (int i = 0; i < count; ++i) {
        FragmentB b[kN];
        load_weights<S>(weights + i * kN * kStepNumbers<S>, b);
        const int behind = plane + offsets[2 * step + half_of_lane()];
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          if (m * kDirectWarps + warp >= fragments) break;
          FragmentA a;
          device::ldmatrix<4>(a.registers, cells + (first_cell[m] + behind) * kChunkOf<S>);
#pragma unroll
          for (int n = 0; n < kN; ++n) multiply<S>(c[m][n], a, b[n]);
        }
        if (++step == steps) {
          step = 0;
          plane += kOctetPlanes<S> * tiles.pitch;
        }
      }
    }
  }
  store_outputs(c, block, tiles.columns, bias, target);
}

template <class S, int kM, int kN>
void launch_of(const DirectTiles& tiles, const PhasedImage<const S>& source, const S* packed, const S* bias,
               const PhasedImage<S>& target, cudaStream_t stream) {
  device::launch(
      convolution_kernel<S, kM, kN>,
      {.grid = dim3(static_cast<unsigned>(tiles.blocks), static_cast<unsigned>(tiles.column_groups)),
       .block = dim3(kDirectThreads),
       .shared_bytes = tiles.shared_bytes,
       .large_shared = true},
      stream, tiles, source, packed, bias, target);
}

}  // namespace

template <class S>
void launch_pack_weight(const DirectTiles& tiles, const DirectWeight& shape, const S* weight, S* packed,
                        cudaStream_t stream) {
  const std::int64_t count = packed_numbers(tiles, sizeof(S));
  device::launch(
      pack_weight_kernel<S>,
      {dim3(device::blocks_for(static_cast<std::size_t>(count), kPackThreads)), dim3(kPackThreads)}, stream,
      tiles, shape, weight, packed, count);
}

template <class S>
void launch_convolution(const DirectTiles& tiles, const PhasedImage<const S>& source, const S* packed,
                        const S* bias, const PhasedImage<S>& target, cudaStream_t stream) {
  const int n = convolution_warp(octets_of(tiles.columns)).n;
  const auto launch = n == 1   ? launch_of<S, convolution_warp(1).m, convolution_warp(1).n>
                      : n == 2 ? launch_of<S, convolution_warp(2).m, convolution_warp(2).n>
                               : launch_of<S, convolution_warp(3).m, convolution_warp(3).n>;
  launch(tiles, source, packed, bias, target, stream);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                        \
  template void launch_pack_weight(const DirectTiles&, const DirectWeight&, const S*, S*, cudaStream_t); \
  template void launch_convolution(const DirectTiles&, const PhasedImage<const S>&, const S*, const S*,  \
                                   const PhasedImage<S>&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
