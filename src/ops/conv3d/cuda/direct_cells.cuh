// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Cells of images in shared memory, in chunks of 16 bytes: what the kernels of direct convolutions share.
///
/// With two buffers chunks are copied while products of others run (cp.async); a thread waits for those that it started, rounds
/// them where products take rounded numbers, and a barrier shows them to the block. With one they go through registers.

#include "bunchtrain/device/detail/async_copy.cuh"
#include "bunchtrain/device/detail/launch.cuh"
#include "direct_launch.hpp"
#include "edge_conv/cuda/edge_fragments.cuh"

namespace bunchtrain::ops::detail {

template <class S>
constexpr int kChunkOf = device::kPack<S>;
/// Planes of chunks of an octet.
template <class S>
constexpr int kOctetPlanes = kOctet / kChunkOf<S>;

struct Cell {
  int x, y, z;
};

/// The place of a number in an array of so many cells along y and z, z fastest.
__device__ inline Cell cell_at(int number, int along_y, int along_z) {
  const int row = number / along_z;
  return {row / along_y, row % along_y, number % along_z};
}

/// What block number `block` works on.
struct BlockTile {
  int image;
  Cell origin, size;  ///< of outputs

  __device__ BlockTile(const DirectTiles& tiles, std::int64_t block) {
    const int in_image = tiles.count[0] * tiles.count[1] * tiles.count[2];
    image = static_cast<int>(block / in_image);
    const Cell at = cell_at(static_cast<int>(block % in_image), tiles.count[1], tiles.count[2]);
    origin = {at.x * tiles.tile[0], at.y * tiles.tile[1], at.z * tiles.tile[2]};
    size = {min(tiles.tile[0], tiles.outputs[0] - origin.x), min(tiles.tile[1], tiles.outputs[1] - origin.y),
            min(tiles.tile[2], tiles.outputs[2] - origin.z)};
  }
  __device__ int rows() const { return size.x * size.y * size.z; }
  __device__ Cell output(int row) const {
    const Cell at = cell_at(row, size.y, size.z);
    return {origin.x + at.x, origin.y + at.y, origin.z + at.z};
  }
  /// Where in shared memory the first cell is that an output sees; 0 for rows that are none.
  __device__ int first_cell(const DirectTiles& tiles, int row) const {
    if (row >= rows()) return 0;
    const Cell at = cell_at(row, size.y, size.z);
    return (at.x * tiles.halo[1] + at.y) * tiles.halo[2] + at.z;
  }
};

/// How many cells behind the first one a tap lies; 0 behind the last tap.
__device__ inline int tap_offset(const DirectTiles& tiles, int tap) {
  if (tap >= tiles.taps) return 0;
  const Cell at = cell_at(tap, tiles.kernel[1], tiles.kernel[2]);
  return (at.x * tiles.halo[1] + at.y) * tiles.halo[2] + at.z;
}

/// Where the number of a wide cell's channel is, or -1 where the image is zero.
template <class T>
__device__ std::int64_t place_of(const PhasedImage<T>& image, int number, const Cell& cell, int channel) {
  const int phase = channel / image.channels;
  const Cell at = cell_at(phase, image.factor[1], image.factor[2]);
  const int x = cell.x * image.factor[0] + at.x, y = cell.y * image.factor[1] + at.y,
            z = cell.z * image.factor[2] + at.z;
  if (cell.x < 0 || cell.y < 0 || cell.z < 0 || at.x >= image.factor[0] || x >= image.extent[0] ||
      y >= image.extent[1] || z >= image.extent[2])
    return -1;
  return (((std::int64_t{number} * image.extent[0] + x) * image.extent[1] + y) * image.extent[2] + z) *
             image.channels +
         channel % image.channels;
}

/// As operands take it.
__device__ inline float rounded(float x) { return __uint_as_float(device::to_tf32(x)); }
__device__ inline Bf16 rounded(Bf16 x) { return x; }

template <class S>
using Chunk = device::Pack<S, kChunkOf<S>>;

/// A chunk of a wide cell's channels, from `channel` on.
template <class S>
__device__ Chunk<S> load_chunk(const PhasedImage<const S>& image, int number, const Cell& cell, int channel) {
  Chunk<S> chunk = {};
  if (image.channels % kChunkOf<S> == 0) {
    const std::int64_t place = place_of(image, number, cell, channel);
    if (place >= 0) chunk = *reinterpret_cast<const Chunk<S>*>(image.data + place);
  } else {
#pragma unroll
    for (int i = 0; i < kChunkOf<S>; ++i) {
      const std::int64_t place = place_of(image, number, cell, channel + i);
      if (place >= 0) chunk.values[i] = image.data[place];
    }
  }
#pragma unroll
  for (S& value : chunk.values) value = rounded(value);
  return chunk;
}

/// Starts copies of `kBytes` each to the chunk `to`. @pre no copy reaches over the end of a phase
template <int kBytes, class S>
__device__ void start_pieces(Chunk<S>* to, const PhasedImage<const S>& image, int number, const Cell& cell,
                             int channel) {
  constexpr int kNumbers = kBytes / static_cast<int>(sizeof(S));
#pragma unroll
  for (int i = 0; i < kChunkOf<S>; i += kNumbers) {
    const std::int64_t place = place_of(image, number, cell, channel + i);
    device::copy_async<kBytes>(to->values + i, image.data + max(place, std::int64_t{0}), place >= 0);
  }
}

/// Starts what `load_chunk` does, but for rounding; channels of an odd number of bytes over 4 come at once.
template <class S>
__device__ void start_chunk(Chunk<S>* to, const PhasedImage<const S>& image, int number, const Cell& cell,
                            int channel) {
  const int bytes = image.channels * static_cast<int>(sizeof(S));
  if (bytes % 16 == 0)
    start_pieces<16>(to, image, number, cell, channel);
  else if (bytes % 8 == 0)
    start_pieces<8>(to, image, number, cell, channel);
  else if (bytes % 4 == 0)
    start_pieces<4>(to, image, number, cell, channel);
  else
    *to = load_chunk(image, number, cell, channel);
}

template <int kBuffers, class S>
__device__ void bring_chunk(Chunk<S>* to, const PhasedImage<const S>& image, int number, const Cell& cell,
                            int channel) {
  if constexpr (kBuffers == 1)
    *to = load_chunk(image, number, cell, channel);
  else
    start_chunk(to, image, number, cell, channel);
}

/// A chunk of `planes` times `count`, as threads share them.
template <class S>
__device__ Chunk<S>* chunk_at(S* to, int pitch, int count, int i) {
  return reinterpret_cast<Chunk<S>*>(to + (i / count * pitch + i % count) * kChunkOf<S>);
}

/// Rounds those of this thread. @pre its copies have come
template <class S>
__device__ void round_chunks([[maybe_unused]] S* chunks, [[maybe_unused]] int pitch,
                             [[maybe_unused]] int count, [[maybe_unused]] int planes) {
  if constexpr (sizeof(S) == 4)
    for (int i = static_cast<int>(threadIdx.x); i < count * planes; i += kDirectThreads) {
      Chunk<S>* const own = chunk_at(chunks, pitch, count, i);
      Chunk<S> chunk = *own;
#pragma unroll
      for (S& value : chunk.values) value = rounded(value);
      *own = chunk;
    }
}

__device__ inline int cells_of(const DirectTiles& tiles) {
  return tiles.halo[0] * tiles.halo[1] * tiles.halo[2];
}

/// Brings what a block sees of the channels from `channel` on to `planes` of chunks [planes, tiles.pitch].
template <int kBuffers, class S>
__device__ void bring_cells(S* to, const DirectTiles& tiles, const PhasedImage<const S>& image,
                            const BlockTile& block, int channel, int planes) {
  const int cells = cells_of(tiles);
  for (int i = static_cast<int>(threadIdx.x); i < cells * planes; i += kDirectThreads) {
    const Cell at = cell_at(i % cells, tiles.halo[1], tiles.halo[2]);
    const Cell cell = {block.origin.x + at.x - tiles.before[0], block.origin.y + at.y - tiles.before[1],
                       block.origin.z + at.z - tiles.before[2]};
    bring_chunk<kBuffers>(chunk_at(to, tiles.pitch, cells, i), image, block.image, cell,
                          channel + i / cells * kChunkOf<S>);
  }
}

}  // namespace bunchtrain::ops::detail
