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

/// What of a product is in shared memory at once: steps of weights, of a slice of octets.
struct Stage {
  int octet = 0, done = 0;    ///< the slice's first octet; its steps before this stage
  int slice = 0, number = 0;  ///< before this one

  __device__ bool exists(const DirectTiles& tiles) const { return octet < tiles.octets; }
  __device__ int octets(const DirectTiles& tiles) const { return min(tiles.slice, tiles.octets - octet); }
  __device__ int steps(const DirectTiles& tiles) const {
    return min(tiles.stage, octets(tiles) * tiles.steps - done);
  }
  __device__ Stage next(const DirectTiles& tiles) const {
    if (done + tiles.stage < octets(tiles) * tiles.steps)
      return {octet, done + tiles.stage, slice, number + 1};
    return {octet + tiles.slice, 0, slice + 1, number + 1};
  }
};

/// The block's shared memory.
template <class S, int kN>
struct ConvolutionMemory {
  S *cells, *weights;
  int* offsets;

  __device__ explicit ConvolutionMemory(const DirectTiles& tiles)
      : cells(device::dynamic_shared<S>()),
        weights(cells + tiles.cell_buffers * tiles.slice * kOctet * tiles.pitch),
        offsets(reinterpret_cast<int*>(weights + tiles.buffers * tiles.stage * kN * kStepNumbers<S>)) {}
  __device__ S* cells_of(const DirectTiles& tiles, const Stage& stage) const {
    return cells + stage.slice % tiles.cell_buffers * (tiles.slice * kOctet * tiles.pitch);
  }
  __device__ S* weights_of(const DirectTiles& tiles, const Stage& stage) const {
    return weights + stage.number % tiles.buffers * (tiles.stage * kN * kStepNumbers<S>);
  }
};

/// Brings a stage's weights of this block's columns, and with the first one of a slice the slice's cells.
template <int kBuffers, class S, int kN>
__device__ void bring(const ConvolutionMemory<S, kN>& memory, const DirectTiles& tiles, const Stage& stage,
                      const PhasedImage<const S>& source, const BlockTile& block, const S* packed) {
  if (stage.done == 0)
    bring_cells<kBuffers>(memory.cells_of(tiles, stage), tiles, source, block, stage.octet * kOctet,
                          stage.octets(tiles) * kOctetPlanes<S>);
  constexpr int kChunks = kN * 16;
  S* const to = memory.weights_of(tiles, stage);
  const std::int64_t first = std::int64_t{stage.octet} * tiles.steps + stage.done;
  for (int i = static_cast<int>(threadIdx.x); i < stage.steps(tiles) * kChunks; i += kDirectThreads) {
    const S* const from =
        packed + ((first + i / kChunks) * tiles.groups + std::int64_t{blockIdx.y} * kN) * kStepNumbers<S> +
        i % kChunks * kChunkOf<S>;
    if constexpr (kBuffers == 1)
      *reinterpret_cast<Chunk<S>*>(to + i * kChunkOf<S>) = *reinterpret_cast<const Chunk<S>*>(from);
    else
      device::copy_async<16>(to + i * kChunkOf<S>, from);
  }
  if constexpr (kBuffers == 2) device::commit_copies();
}

/// Waits until all of the block have copied a stage and are past the one before it.
template <class S, int kN>
__device__ void arrive(const ConvolutionMemory<S, kN>& memory, const DirectTiles& tiles, const Stage& stage) {
  device::wait_for_copies<0>();
  if (stage.done == 0)
    round_chunks(memory.cells_of(tiles, stage), tiles.pitch, cells_of(tiles),
                 stage.octets(tiles) * kOctetPlanes<S>);
  __syncthreads();
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

/// Products of a stage's steps, of the rows of this warp: every eighth 16 of the block.
template <class S, int kM, int kN>
class StageProducts {
 public:
  __device__ StageProducts(const DirectTiles& tiles, const BlockTile& block)
      : tiles_(tiles), fragments_((block.rows() + 15) / 16) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
      first_cell_[m] = block.first_cell(tiles, (m * kDirectWarps + warp_) * 16 + lane_of_warp() % 16);
  }

  __device__ void add(const ConvolutionMemory<S, kN>& memory, const Stage& stage,
                      FragmentC (&c)[kM][kN]) const {
    const S* const cells = memory.cells_of(tiles_, stage);
    const S* const weights = memory.weights_of(tiles_, stage);
    int step = stage.done % tiles_.steps, plane = stage.done / tiles_.steps * kOctetPlanes<S> * tiles_.pitch;
    const int steps = stage.steps(tiles_);
#pragma unroll 4
    for (int i = 0; i < steps; ++i) {
      FragmentB b[kN];
      load_weights<S>(weights + i * kN * kStepNumbers<S>, b);
      const int behind = plane + memory.offsets[2 * step + half_of_lane()];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        if (m * kDirectWarps + warp_ >= fragments_) break;
        FragmentA a;
        device::ldmatrix<4>(a.registers, cells + (first_cell_[m] + behind) * kChunkOf<S>);
#pragma unroll
        for (int n = 0; n < kN; ++n) multiply<S>(c[m][n], a, b[n]);
      }
      if (++step == tiles_.steps) {
        step = 0;
        plane += kOctetPlanes<S> * tiles_.pitch;
      }
    }
  }

 private:
  const DirectTiles& tiles_;
  const int warp_ = static_cast<int>(threadIdx.x) / 32, fragments_;
  int first_cell_[kM];
};

//   formula    target[o, n] = bias[n] + sum over taps and channels of source[o + tap - before, c] weight[n, c, tap]
//
//   tiling     a block owns tiles.tile outputs of an image and 8 kN columns; a warp every eighth 16 of the outputs, kM times,
//              with all columns. Channels come in slices of octets, weights in stages of steps: a step is two taps of an
//              octet (bfloat16) or one (tf32). Rows of operands are read where the cells lie: 8 cells along z are one
//              matrix, which meets every bank once
//
//   shared     cells [slice, halo, 8] and weights [stage, 8 kN columns, depth] of S, offsets of taps: 96 KB, or what the card's
//              line says. With kBuffers 2 weights twice, and cells twice where there are several slices: while products of
//              one stage run the next one is copied
//
//   bound      shared memory: a matrix of rows per product
template <class S, int kM, int kN, int kBuffers>
__global__ void __launch_bounds__(kDirectThreads)
    convolution_kernel(DirectTiles tiles, PhasedImage<const S> source, const S* packed, const S* bias,
                       PhasedImage<S> target) {
  const ConvolutionMemory<S, kN> memory(tiles);
  list_offsets<S>(tiles, tiles.steps, memory.offsets);
  const BlockTile block(tiles, blockIdx.x);
  const StageProducts<S, kM, kN> products(tiles, block);
  FragmentC c[kM][kN] = {};
  if constexpr (kBuffers == 1) {
    for (Stage stage; stage.exists(tiles); stage = stage.next(tiles)) {
      __syncthreads();
      bring<1>(memory, tiles, stage, source, block, packed);
      __syncthreads();
      products.add(memory, stage, c);
    }
  } else {
    Stage stage;
    bring<2>(memory, tiles, stage, source, block, packed);
    while (stage.exists(tiles)) {
      const Stage next = stage.next(tiles);
      arrive(memory, tiles, stage);
      if (next.exists(tiles)) bring<2>(memory, tiles, next, source, block, packed);
      products.add(memory, stage, c);
      stage = next;
    }
  }
  store_outputs(c, block, tiles.columns, bias, target);
}

template <class S, int kM, int kN, int kBuffers>
void launch_of(const DirectTiles& tiles, const PhasedImage<const S>& source, const S* packed, const S* bias,
               const PhasedImage<S>& target, cudaStream_t stream) {
  device::launch(
      convolution_kernel<S, kM, kN, kBuffers>,
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
  const auto launch = [&]<int kGroups>() {
    constexpr WarpShape kWarp = convolution_warp(kGroups);
    tiles.buffers == 1 ? launch_of<S, kWarp.m, kWarp.n, 1>(tiles, source, packed, bias, target, stream)
                       : launch_of<S, kWarp.m, kWarp.n, 2>(tiles, source, packed, bias, target, stream);
  };
  const int n = convolution_warp(octets_of(tiles.columns)).n;
  n == 1   ? launch.template operator()<1>()
  : n == 2 ? launch.template operator()<2>()
           : launch.template operator()<3>();
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                        \
  template void launch_pack_weight(const DirectTiles&, const DirectWeight&, const S*, S*, cudaStream_t); \
  template void launch_convolution(const DirectTiles&, const PhasedImage<const S>&, const S*, const S*,  \
                                   const PhasedImage<S>&, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
