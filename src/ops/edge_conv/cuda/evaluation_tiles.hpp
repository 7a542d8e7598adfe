// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the launch of evaluated EdgeConv is cut, by architecture.
///
/// A block owns 8 nodes, which reads the weights from the L2 cache half as often, or 4, which takes 96 KB instead of 160 at width
/// 256: two blocks on a multiprocessor of compute capability 9.0, and a block at all on cards of 99 KB. Results are the same
/// bits. Edges of four bytes have 4 always.
///
/// `gpu-kit lab edge_evaluation` measures a card and prints its line.

namespace bunchtrain::ops::detail {

struct EvaluationTiles {
  int compute_capability;  ///< from this one to that of the next line; 90 = 9.0
  int nodes[3];            ///< of a block, rows of bfloat16 being 64, 128, 256 wide
};

/// Chosen by shared memory; no card has measured a line yet.
inline constexpr EvaluationTiles kEvaluationTiles[] = {
    {80, {8, 8, 8}}, {86, {8, 8, 4}}, {87, {8, 8, 8}}, {89, {8, 8, 4}}, {90, {8, 8, 8}}, {120, {8, 8, 4}},
};

/// Nodes of a block. @param width 64, 128 or 256
constexpr int evaluation_nodes(int compute_capability, int width) {
  const EvaluationTiles* own = kEvaluationTiles;
  for (const EvaluationTiles& line : kEvaluationTiles)
    if (line.compute_capability <= compute_capability) own = &line;
  return own->nodes[width == 64 ? 0 : width == 128 ? 1 : 2];
}

}  // namespace bunchtrain::ops::detail
