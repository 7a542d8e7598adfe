// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sizes that the fused passes over edges take.

#include <cstddef>

namespace bunchtrain::ops::detail {

inline constexpr int kEdgesOfNode = 16;  ///< rows of a node in an edge tensor, K at most
inline constexpr int kTileNodes = 4;     ///< of a tile of the passes of training
inline constexpr int kWidestEdge = 256;  ///< channels at most
inline constexpr int kMostFusedPoints =
    128;  ///< points of a set: what is summed by point is in shared memory
/// Of a pass, shared among parts of a row. Not the card's number of multiprocessors: sums would depend on it.
inline constexpr int kMostPassBlocks = 264;

/// Channels of a row of edges: 64, 128 or 256. @pre channels <= kWidestEdge
constexpr int fused_width(int channels) { return channels <= 64 ? 64 : channels <= 128 ? 128 : 256; }

/// Blocks of a pass along its tiles at most, and of the one that goes by sets. Sizes alone say it, not the columns of a block, which
/// are the card's: sums would depend on it. @param most of all blocks
constexpr int most_tile_blocks(std::size_t value_bytes, int width, int most = kMostPassBlocks) {
  return most * (value_bytes == 2 && width > 64 ? 128 : 64) / width;
}
constexpr int most_set_blocks(int width, int most = kMostPassBlocks) { return most * 64 / width; }

}  // namespace bunchtrain::ops::detail
