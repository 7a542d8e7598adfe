// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How launches of fused EdgeConv are cut, by architecture. Results are the same bits whatever the tables say.
///
/// In a pass of training a block owns some columns of the weight. With two stages the rows that its next tile is made from are
/// copied to shared memory while this tile's products run. More columns: fewer blocks fill the same rows. Less shared memory:
/// two blocks on a multiprocessor, where registers allow that, which they do in forward with up to 128 columns and in
/// backward where the width times the columns is at most 128 x 64.
///
/// In an evaluation a block owns 8 nodes, which reads the weights from the L2 cache half as often, or 4, which takes 96 KB
/// instead of 160 at width 256. Edges of four bytes have 4 always.
///
/// `gpu-kit lab edge_training` and `gpu-kit lab edge_evaluation` measure a card and print its lines.

#include <cstdint>
#include <type_traits>

#include "bunchtrain/core/detail/storage_types.hpp"
#include "edge_conv/exact_float.hpp"

namespace bunchtrain::ops::detail {

/// The passes with products: F2, F3, B, C.
enum class EdgePass : std::uint8_t { second_layer, third_layer, third_backward, second_backward };
inline constexpr EdgePass kEdgePasses[] = {EdgePass::second_layer, EdgePass::third_layer,
                                           EdgePass::third_backward, EdgePass::second_backward};

struct PassTiles {
  int columns = 64;  ///< of the weight: 64, 128 or 256, up to most_columns
  int stages = 1;    ///< 1, or 2: rows are copied ahead
  bool operator==(const PassTiles&) const = default;
};

/// Of the passes in the order of EdgePass, for one width and type of edges.
struct TrainingTiles {
  PassTiles passes[4];
  constexpr const PassTiles& of(EdgePass pass) const { return passes[static_cast<int>(pass)]; }
};

/// Columns that a block can own at most: accumulators fit in registers, tiles in the shared memory of some card. S is Bf16, float,
/// or ExactFloat, whose products by FMA take so long that filling rows less often would save little.
template <class S>
constexpr int most_columns(EdgePass pass, int width) {
  if (std::is_same_v<S, ExactFloat>) return 64;
  const bool forward = pass == EdgePass::second_layer || pass == EdgePass::third_layer;
  const int most = sizeof(S) == 2 ? (forward ? 256 : 128) : (forward || width == 128 ? 128 : 64);
  return width < most ? width : most;
}

/// Rows 64, 128, 256 wide.
struct TilesByWidth {
  TrainingTiles widths[3];
};
constexpr int width_place(int width) { return width == 64 ? 0 : width == 128 ? 1 : 2; }

struct TrainingLine {
  int compute_capability;  ///< from this one to that of the next line; 90 = 9.0
  TilesByWidth bfloat16, tf32, float32;
};

// Until a card has measured its line: 128 columns in bfloat16 but in C and at width 64, else 64, fewer where that does not fit; and
// two stages where they cost no block on a multiprocessor.
inline constexpr TilesByWidth kBfloat16Of227 = {{{{{64, 2}, {64, 2}, {64, 2}, {64, 2}}},
                                                 {{{128, 2}, {128, 2}, {128, 2}, {64, 1}}},
                                                 {{{128, 1}, {128, 1}, {128, 2}, {64, 2}}}}};
inline constexpr TilesByWidth kFloatOf227 = {{{{{64, 2}, {64, 2}, {64, 2}, {64, 1}}},
                                              {{{64, 2}, {64, 2}, {64, 1}, {64, 2}}},
                                              {{{64, 2}, {64, 2}, {64, 1}, {64, 1}}}}};
inline constexpr TilesByWidth kBfloat16Of163 = {{{{{64, 2}, {64, 2}, {64, 2}, {64, 1}}},
                                                 {{{128, 1}, {128, 2}, {128, 2}, {64, 1}}},
                                                 {{{128, 1}, {128, 2}, {128, 1}, {64, 1}}}}};
inline constexpr TilesByWidth kFloatOf163 = {{{{{64, 2}, {64, 2}, {64, 1}, {64, 2}}},
                                              {{{64, 1}, {64, 1}, {64, 2}, {64, 1}}},
                                              {{{64, 1}, {64, 1}, {64, 1}, {64, 1}}}}};
inline constexpr TilesByWidth kBfloat16Of99 = {{{{{64, 2}, {64, 2}, {64, 2}, {64, 2}}},
                                                {{{128, 2}, {128, 2}, {128, 1}, {64, 1}}},
                                                {{{128, 1}, {128, 1}, {64, 1}, {64, 1}}}}};
inline constexpr TilesByWidth kFloatOf99 = {{{{{64, 1}, {64, 1}, {64, 2}, {64, 1}}},
                                             {{{64, 1}, {64, 2}, {64, 1}, {64, 1}}},
                                             {{{64, 1}, {64, 1}, {64, 1}, {64, 1}}}}};

inline constexpr TrainingLine kTrainingLines[] = {
    {80, kBfloat16Of163, kFloatOf163, kFloatOf163}, {86, kBfloat16Of99, kFloatOf99, kFloatOf99},
    {87, kBfloat16Of163, kFloatOf163, kFloatOf163}, {89, kBfloat16Of99, kFloatOf99, kFloatOf99},
    {90, kBfloat16Of227, kFloatOf227, kFloatOf227}, {120, kBfloat16Of99, kFloatOf99, kFloatOf99},
};

struct EvaluationLine {
  int compute_capability;  ///< as of TrainingLine
  int nodes[3];            ///< of a block, rows of bfloat16 being 64, 128, 256 wide
};

/// Chosen by shared memory; no card has measured a line yet.
inline constexpr EvaluationLine kEvaluationLines[] = {
    {80, {8, 8, 8}}, {86, {8, 8, 4}}, {87, {8, 8, 8}}, {89, {8, 8, 4}}, {90, {8, 8, 8}}, {120, {8, 8, 4}},
};

/// The first line, and the last one that begins at or before a card.
template <class Line, int kLines>
constexpr const Line& line_of(const Line (&lines)[kLines], int compute_capability) {
  const Line* own = lines;
  for (const Line& line : lines)
    if (line.compute_capability <= compute_capability) own = &line;
  return *own;
}

/// @param width 64, 128 or 256
template <class S>
constexpr const TrainingTiles& training_tiles(int compute_capability, int width) {
  const TrainingLine& line = line_of(kTrainingLines, compute_capability);
  const TilesByWidth& tiles = sizeof(S) == 2                  ? line.bfloat16
                              : std::is_same_v<S, ExactFloat> ? line.float32
                                                              : line.tf32;
  return tiles.widths[width_place(width)];
}

/// Nodes of a block of an evaluation.
constexpr int evaluation_nodes(int compute_capability, int width) {
  return line_of(kEvaluationLines, compute_capability).nodes[width_place(width)];
}

}  // namespace bunchtrain::ops::detail
