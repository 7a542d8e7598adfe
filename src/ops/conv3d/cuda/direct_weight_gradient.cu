// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution's weight as products on tensor cores: taps and channels are rows, channels of the output
// columns, outputs what is summed over.
#include "direct_cells.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kSumThreads = 256;

/// A tile in shared memory: cells [halo, 8], rows of the output's gradient [planes of chunks, tiles.row_pitch], and the first
/// cell that each output sees.
template <class S>
struct GradientTile {
  S *cells, *rows;
  int* first_cells;

  /// @param planes of chunks of the rows @param buffer which of `tiles.buffers`
  __device__ GradientTile(const DirectTiles& tiles, int planes, int buffer) {
    const int numbers = kOctet * tiles.pitch + planes * kChunkOf<S> * tiles.row_pitch;
    cells = device::dynamic_shared<S>() + buffer * numbers;
    rows = cells + kOctet * tiles.pitch;
    first_cells = reinterpret_cast<int*>(device::dynamic_shared<S>() + tiles.buffers * numbers) +
                  buffer * tiles.row_pitch;
  }
};

/// What a block takes of a tile.
struct TilePart {
  int octet, column, planes;  ///< of the image; first column and planes of chunks of the gradient
};

/// Of a block, up to a whole step of products.
__device__ inline int padded_rows(const BlockTile& block) { return (block.rows() + 15) / 16 * 16; }

/// With zeros behind the tile's outputs.
template <int kBuffers, class S>
__device__ void bring_tile(const GradientTile<S>& to, const DirectTiles& tiles,
                           const PhasedImage<const S>& image, const PhasedImage<const S>& gradient,
                           const BlockTile& block, const TilePart& part) {
  bring_cells<kBuffers>(to.cells, tiles, image, block, part.octet * kOctet, kOctetPlanes<S>);
  const int rows = block.rows(), all = padded_rows(block);
  for (int i = static_cast<int>(threadIdx.x); i < all * part.planes; i += kDirectThreads) {
    const int plane = i / all, row = i % all;
    Chunk<S>* const chunk = chunk_at(to.rows, tiles.row_pitch, all, i);
    if (row < rows)
      bring_chunk<kBuffers>(chunk, gradient, block.image, block.output(row),
                            part.column + plane * kChunkOf<S>);
    else
      *chunk = {};
    if (plane == 0) to.first_cells[row] = block.first_cell(tiles, row);
  }
  if constexpr (kBuffers == 2) device::commit_copies();
}

/// Waits until all of the block have copied a tile and are past the one before it.
template <class S>
__device__ void arrive(const GradientTile<S>& tile, const DirectTiles& tiles, const BlockTile& block,
                       int planes) {
  device::wait_for_copies<0>();
  round_chunks(tile.cells, tiles.pitch, cells_of(tiles), kOctetPlanes<S>);
  round_chunks(tile.rows, tiles.row_pitch, padded_rows(block), planes);
  __syncthreads();
}

/// Outputs from `row` on, of two neighbouring groups of columns or of one.
template <class S, int kN>
__device__ void load_columns(const S* gradient, int row_pitch, int row, FragmentB (&b)[kN]) {
  const int lane = lane_of_warp();
  if constexpr (sizeof(S) == 4) {
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        b[n].registers[i] = __float_as_uint(
            gradient[((2 * n + lane / 16) * row_pitch + row + lane % 4 + 4 * i) * 4 + lane / 4 % 4]);
  } else if constexpr (kN == 1) {
    device::ldmatrix_trans<2>(b[0].registers, gradient + (row + lane % 16) * 8);
  } else {
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      unsigned both[4];
      device::ldmatrix_trans<4>(both, gradient + ((n + lane / 16) * row_pitch + row + lane % 16) * 8);
      b[n] = {{both[0], both[1]}};
      b[n + 1] = {{both[2], both[3]}};
    }
  }
}

/// Cells of an octet as rows: 8 channels of two taps by outputs. A lane reads cells for its own place in the fragment.
template <class S, int kM>
class TapRows {
 public:
  /// Fragment m has the taps first + step 2 m and the next one.
  __device__ TapRows(const DirectTiles& tiles, int first, int step) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int i = 0; i < kOffsets; ++i)
        offsets_[m][i] =
            tap_offset(tiles, first + 2 * step * m + (kOffsets == 2 ? i : lane_of_warp() / 8 % 2));
  }

  /// Outputs from `row` on.
  __device__ void look_at(const int* first_cells, int row) {
    const int lane = lane_of_warp();
    if constexpr (sizeof(S) == 4) {
      cells_[0] = first_cells[row + lane % 4];
      cells_[1] = first_cells[row + lane % 4 + 4];
    } else {
      cells_[0] = first_cells[row + lane / 16 * 8 + lane % 8];
    }
  }

  __device__ void load(const S* cells, int pitch, int m, FragmentA& a) const {
    if constexpr (sizeof(S) == 4) {
      const int lane = lane_of_warp();
      const S* own = cells + lane / 16 * pitch * 4 + lane / 4 % 4;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        a.registers[i] = __float_as_uint(own[(cells_[i / 2] + offsets_[m][i % 2]) * 4]);
    } else {
      device::ldmatrix_trans<4>(a.registers, cells + (cells_[0] + offsets_[m][0]) * 8);
    }
  }

 private:
  static constexpr int kOffsets = sizeof(S) == 4 ? 2 : 1;
  int offsets_[kM][kOffsets];
  int cells_[kOffsets];
};

/// Products of a tile: a warp owns 2 kM taps by 8 kN columns.
template <class S, int kM, int kN>
__device__ void add_products(const GradientTile<S>& tile, const DirectTiles& tiles, TapRows<S, kM>& taps,
                             int rows, int first_tap, int first_group, FragmentC (&c)[kM][kN]) {
  const S* const own_rows = tile.rows + first_group * kOctet * tiles.row_pitch;
  for (int row = 0; row < rows; row += kDepthOf<S>) {
    FragmentB b[kN];
    load_columns<S>(own_rows, tiles.row_pitch, row, b);
    taps.look_at(tile.first_cells, row);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      if (first_tap + 2 * tiles.warps_m * m >= tiles.taps) break;
      FragmentA a;
      taps.load(tile.cells, tiles.pitch, m, a);
#pragma unroll
      for (int n = 0; n < kN; ++n) multiply<S>(c[m][n], a, b[n]);
    }
  }
}

//   formula    partial[slot, octet, tap, c, n] = sum over the slot's outputs o of image[o + tap - before, c] gradient[o, n]
//
//   tiling     blockIdx.x is the slot, which takes every gridDim.x-th tile of outputs; y an octet of channels and a part of its
//              taps; z a part of the columns. A warp owns 2 kM taps by 8 kN columns, for all its slot's outputs
//
//   shared     cells [halo, 8], gradients [columns, outputs] of S, the first cell of each output: 96 KB at most. With kBuffers 2
//              twice: while products of one tile run the next one is copied
//
//   bound      shared memory: a matrix of cells per product
template <class S, int kM, int kN, int kBuffers>
__global__ void __launch_bounds__(kDirectThreads)
    weight_gradient_kernel(DirectTiles tiles, PhasedImage<const S> image, PhasedImage<const S> gradient,
                           float* partials) {
  const int warp = static_cast<int>(threadIdx.x) / 32, warps_n = kDirectWarps / tiles.warps_m;
  const int warp_m = warp % tiles.warps_m, warp_n = warp / tiles.warps_m;
  const int octet = static_cast<int>(blockIdx.y) / tiles.tap_groups;
  const int first_tap = (static_cast<int>(blockIdx.y) % tiles.tap_groups * tiles.warps_m * kM + warp_m) * 2;
  const int block_group = static_cast<int>(blockIdx.z) * warps_n * kN;
  const TilePart part = {octet, block_group * kOctet, warps_n * kN * kOctetPlanes<S>};
  TapRows<S, kM> taps(tiles, first_tap, tiles.warps_m);

  FragmentC c[kM][kN] = {};
  const auto bring = [&](std::int64_t number, int buffer) {
    bring_tile<kBuffers>(GradientTile<S>(tiles, part.planes, buffer), tiles, image, gradient,
                         BlockTile(tiles, number), part);
  };
  if (kBuffers == 2 && blockIdx.x < tiles.blocks) bring(blockIdx.x, 0);
  int buffer = 0;
  for (std::int64_t number = blockIdx.x; number < tiles.blocks; number += gridDim.x) {
    const BlockTile block(tiles, number);
    const GradientTile<S> tile(tiles, part.planes, buffer);
    if constexpr (kBuffers == 1) {
      __syncthreads();
      bring(number, 0);
      __syncthreads();
    } else {
      arrive(tile, tiles, block, part.planes);
      buffer = 1 - buffer;
      if (number + gridDim.x < tiles.blocks) bring(number + gridDim.x, buffer);
    }
    add_products<S>(tile, tiles, taps, block.rows(), first_tap, warp_n * kN, c);
  }
  for_values(c, [&](int row, int column, float value) {
    const int tap = first_tap + row / 16 * 2 * tiles.warps_m + row / 8 % 2;
    if (tap >= tiles.taps) return;
    const std::int64_t line =
        ((std::int64_t{blockIdx.x} * tiles.octets + octet) * tiles.taps + tap) * kOctet + row % 8;
    partials[line * tiles.groups * kOctet + (block_group + warp_n * kN) * kOctet + column] = value;
  });
}

/// A thread adds the slots' parts of one number, in their order.
__global__ void sum_slots_kernel(DirectTiles tiles, int channels, const float* partials, std::int64_t of_slot,
                                 float* weight) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  const int columns = tiles.groups * kOctet, column = static_cast<int>(i % columns);
  const std::int64_t line = i / columns, tap = line / kOctet % tiles.taps;
  const auto channel = static_cast<int>(line / kOctet / tiles.taps * kOctet + line % kOctet);
  if (i >= of_slot || column >= tiles.columns || channel >= channels) return;
  float sum = 0;
  for (int slot = 0; slot < tiles.slots; ++slot) sum += partials[slot * of_slot + i];
  weight[(std::int64_t{column} * channels + channel) * tiles.taps + tap] = sum;
}

template <class S, int kM, int kN, int kBuffers>
void launch_of(const DirectTiles& tiles, const PhasedImage<const S>& image,
               const PhasedImage<const S>& gradient, float* partials, cudaStream_t stream) {
  device::launch(weight_gradient_kernel<S, kM, kN, kBuffers>,
                 {.grid = dim3(static_cast<unsigned>(tiles.slots),
                               static_cast<unsigned>(tiles.octets * tiles.tap_groups),
                               static_cast<unsigned>(tiles.column_groups)),
                  .block = dim3(kDirectThreads),
                  .shared_bytes = tiles.shared_bytes,
                  .large_shared = true},
                 stream, tiles, image, gradient, partials);
}

}  // namespace

template <class S>
void launch_weight_gradient(const DirectTiles& tiles, const PhasedImage<const S>& image,
                            const PhasedImage<const S>& gradient, float* partials, float* weight,
                            cudaStream_t stream) {
  const auto launch = [&]<int kGroups>() {
    constexpr WarpShape kWarp = weight_warp(kGroups);
    tiles.buffers == 1 ? launch_of<S, kWarp.m, kWarp.n, 1>(tiles, image, gradient, partials, stream)
                       : launch_of<S, kWarp.m, kWarp.n, 2>(tiles, image, gradient, partials, stream);
  };
  weight_warp(octets_of(tiles.columns)).n == 1 ? launch.template operator()<1>()
                                               : launch.template operator()<2>();
  const std::int64_t count = partial_numbers(tiles);
  device::launch(sum_slots_kernel,
                 {dim3(device::blocks_for(static_cast<std::size_t>(count), kSumThreads)), dim3(kSumThreads)},
                 stream, tiles, image.channels, partials, count, weight);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                       \
  template void launch_weight_gradient(const DirectTiles&, const PhasedImage<const S>&, \
                                       const PhasedImage<const S>&, float*, float*, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
