// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sizes that the fused passes over edges take.

namespace bunchtrain::ops::detail {

inline constexpr int kEdgesOfNode = 16;  ///< rows of a node in an edge tensor, K at most
inline constexpr int kWidestEdge = 256;  ///< channels at most
inline constexpr int kMostFusedPoints =
    128;  ///< points of a set: what is summed by point is in shared memory
/// Of a pass, shared among the parts of a row. Not the card's number of multiprocessors: sums would depend on it.
inline constexpr int kMostPassBlocks = 264;

/// Channels of a row of edges: 64, 128 or 256. @pre channels <= kWidestEdge
constexpr int fused_width(int channels) { return channels <= 64 ? 64 : channels <= 128 ? 128 : 256; }

}  // namespace bunchtrain::ops::detail
