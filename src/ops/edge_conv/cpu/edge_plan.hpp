// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which points of a padded batch an EdgeConv block computes on the CPU, and how they are shared out.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/ops/edge_conv.hpp"

namespace bunchtrain::ops::detail {

/// A run of whole jets that one thread works on. Groups depend on the batch only, not on the number of
/// threads, so that sums over groups in order are the same for any.
struct EdgeGroup {
  std::int64_t first_node, last_node;    ///< in EdgePlan::nodes
  std::int64_t first_point, last_point;  ///< all points of its jets
};

/// A piece of a group whose edges fit in the cache; its points all count in batch norm, or none does.
struct EdgePiece {
  std::int64_t first_node, last_node;
  bool counted;
};

/// The points whose edges are computed. With zeroed padding all edges among padded points are zero: where a
/// padded point has only such edges it is left out and stands for itself in the statistics only ("inert").
struct EdgePlan {
  at::Tensor indices;  ///< [B, P, K] int32, contiguous, rows of padded points included
  std::vector<std::int32_t> nodes;
  std::vector<bool> counted;  ///< per node; empty = all
  std::vector<EdgeGroup> groups;
  std::int64_t sets = 0, points = 0, k = 0;
  std::int64_t inert_edges = 0;  ///< that count in the statistics though nobody computes them

  std::int64_t edges() const noexcept { return static_cast<std::int64_t>(nodes.size()) * k; }
  /// Rows of the edge statistics, inert ones included.
  double counted_edges() const noexcept;
  /// Pieces of at most `max_nodes` points.
  std::vector<EdgePiece> pieces(const EdgeGroup& group, std::int64_t max_nodes) const;
};

EdgePlan make_edge_plan(const at::Tensor& indices, const Padding& padding);

}  // namespace bunchtrain::ops::detail
