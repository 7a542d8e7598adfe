// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which points of a padded batch an EdgeConv block computes on a GPU: decided there, so that no count comes to the
/// host. Raw pointers, no LibTorch.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "edge_conv/fused_limits.hpp"

namespace bunchtrain::ops::detail {

/// A padded batch.
struct PaddedPoints {
  const bool* mask;             ///< [sets * points] true = real
  const std::int32_t* indices;  ///< [sets * points, K] neighbours of real points, positions in the set
  int sets, points, neighbours;
  bool zeroed, counted;  ///< as Padding says. At least one: else a node would be no row of the statistics
};

/// What is written, as EdgeNodes (fused_launch.hpp) describes it.
struct NodeLists {
  std::int32_t* nodes;       ///< [sets * points], the first of them used
  std::int32_t* first_node;  ///< [sets + 1]
  std::int32_t* indices;     ///< [sets * points, K] inside the set; rows that are no node's are not written
  /// [] edges among zeroed padding that count in statistics though nobody computes them.
  double* inert_edges;
};

/// A real point is a node. So is a padded one, unless it is zeroed and either not counted or, in a set of more than K
/// padded points, nearest to K others: all its edges are the same then, and inert. The neighbours of padding are the
/// other padded points first, then the real ones, each lowest index first.
///
/// An index outside its set counts as the nearest one inside and raises `*fault`. @pre K < points <= kMostFusedPoints
void launch_list_nodes(const PaddedPoints& batch, const NodeLists& lists, std::int32_t* fault,
                       cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
