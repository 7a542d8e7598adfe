// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The passes over edges of an EdgeConv block with its products on tensor cores: raw pointers, no LibTorch.
/// From compute capability 8.0 on.
///
/// Only real points ("nodes") are computed. A node has 16 rows in every edge tensor, the first K of them its
/// edges; rows are `fused_width` channels wide. Nothing of the first layer is kept: its rows are u_i + v_j.
/// Edges are of S, Bf16 or float; float takes part in products as tf32. Calls are asynchronous on `stream`.
/// Sums have an order that sizes alone decide: no atomics, the same bits on every card.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "edge_conv/fused_limits.hpp"
#include "edge_tiles.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// The nodes of a batch, set by set.
struct EdgeNodes {
  const std::int32_t* nodes;       ///< [first_node[sets]] which point of all sets each node is, ascending
  const std::int32_t* first_node;  ///< [sets + 1] where the nodes of each set begin
  const std::int32_t* indices;     ///< [sets * points, K] neighbours, positions in the set
  int sets, points, neighbours;
};

/// scale * y + shift per channel: a batch norm in front of a ReLU.
struct EdgeAffine {
  const float *scale, *shift;  ///< [channels]
};

/// The rows u_i + v_j.
struct FirstRows {
  const float* terms;  ///< [points of all sets, 2 part]: u, then v
  int channels;
  int part;  ///< numbers of u, and of v, in a row: the channels and zeros up to a multiple of 4
};

/// How a pass is launched. Results depend on the blocks, which are the same on every card, and not on the tiles, which are not.
struct PassCut {
  int width;             ///< of rows of edges
  int blocks;            ///< that share the nodes, in C the sets; each writes partial sums
  PassTiles tiles = {};  ///< edge_tiles.hpp
};
/// Shared memory of a block of F2 or F3, of B, and of C for sets of `points`.
template <class S>
std::size_t forward_bytes(EdgePass pass, int width, const PassTiles& tiles);
template <class S>
std::size_t third_backward_bytes(int width, const PassTiles& tiles);
template <class S>
std::size_t second_backward_bytes(int width, const PassTiles& tiles, int points);

template <class S>
std::size_t pass_bytes(EdgePass pass, int width, const PassTiles& tiles, int points) {
  if (pass == EdgePass::third_backward) return third_backward_bytes<S>(width, tiles);
  if (pass == EdgePass::second_backward) return second_backward_bytes<S>(width, tiles, points);
  return forward_bytes<S>(pass, width, tiles);
}

/// Sums of y and y squared over edges, y = u_i + v_j. `partials` [node_blocks, 2 channels + 1].
void launch_first_moments(const EdgeNodes& nodes, const FirstRows& first, double* partials,
                          cudaStream_t stream);
int node_blocks(const EdgeNodes& nodes);

/// The product of a layer's activations with its weight.
struct EdgeProduct {
  const float* weight;  ///< [to, from]
  int from, to;         ///< channels
};

/// F2: y2 = relu(bn1(u_i + v_j)) W2^T, and sums of y2 and its square. `partials` [blocks, 2 channels + 1] may be nullptr,
/// of F3 too.
template <class S>
void launch_second_layer(const EdgeNodes& nodes, const FirstRows& first, const EdgeAffine& affine,
                         const EdgeProduct& product, const PassCut& cut, S* y2, double* partials,
                         cudaStream_t stream);

/// F3: y3 = relu(bn2(y2)) W3^T, and sums of y3 and its square.
template <class S>
void launch_third_layer(const EdgeNodes& nodes, const S* y2, const EdgeAffine& affine,
                        const EdgeProduct& product, const PassCut& cut, S* y3, double* partials,
                        cudaStream_t stream);

/// What backward needs to know of y3 for the sums of its batch norm, per node and channel.
struct PassedEdges {
  std::uint8_t* count;  ///< [nodes, channels] edges that the ReLU let through
  float* sum;           ///< [nodes, channels] sum of y3 over them
};

/// F4: mean[node] = 1/K sum_n relu(bn3(y3)). `mean` [points of all sets, channels]: only rows of nodes are
/// written. `passed` may hold nullptr.
template <class S>
void launch_mean(const EdgeNodes& nodes, const S* y3, const EdgeAffine& affine, int channels, int width,
                 float* mean, const PassedEdges& passed, cudaStream_t stream);

/// What a block adds to the mean before its last ReLU.
template <class S>
struct BlockShortcut {
  const float* features =
      nullptr;                 ///< [points of all sets, channels]; nullptr: the projection behind u and v
  EdgeAffine affine = {};      ///< of the projection
  const bool* mask = nullptr;  ///< [points of all sets] others are written as zero; nullptr: all are
};

/// F2 to F4 in one launch, with batch norms that do not depend on the batch: no edge leaves shared memory.
template <class S>
struct EdgeEvaluation {
  const S* rows;  ///< [points of all sets, row_size]: u, v, and the shortcut's projection where there is one
  int row_size;
  EdgeAffine affines[3];
  const S* weights[2];  ///< [width, width] of the second and third layer, zeros where these end
  int channels[3];      ///< of all three
  int width;
  int tile_nodes;  ///< of a block: 8 or 4 (edge_tiles.hpp); edges of four bytes have 4 always
  bool whole;      ///< out = relu(mean + shortcut), of points in the mask; else the mean
  BlockShortcut<S> shortcut;
  float* out;  ///< [points of all sets, channels[2]]: only rows of nodes are written
};
template <class S>
void launch_evaluation(const EdgeNodes& nodes, const EdgeEvaluation<S>& evaluation, cudaStream_t stream);
/// Shared memory of its blocks.
template <class S>
std::size_t fused_evaluation_bytes(int width, int tile_nodes);

/// Sums over edges of g and g y3 without a pass over them, g being the gradient behind the third batch norm.
/// `gradient` [points of all sets, channels] is that of `mean`; `partials` [node_blocks, 2 channels + 1].
void launch_mean_moments(const EdgeNodes& nodes, const PassedEdges& passed, const float* gradient,
                         int channels, double* partials, cudaStream_t stream);

/// What a batch norm's backward pass subtracts: offset + slope * y.
struct EdgeCorrection {
  const float *slope, *offset;  ///< [channels]
};

/// B: from the gradient of the mean to g2 = that behind the second batch norm's ReLU, where it lets it through;
/// sums of g2 and g2 y2; `weight_partials` [blocks, width, width] of dW3.
template <class S>
struct ThirdBackward {
  const float* gradient;  ///< [points of all sets, gradient_size] of the mean, zeros behind the channels
  int gradient_size;      ///< a multiple of 4
  const S *y2, *y3;
  EdgeAffine second, third;
  EdgeCorrection correction;  ///< of the third batch norm
  EdgeProduct product;
  PassCut cut;
  S* g2;
  double* partials;
  float* weight_partials;
};
template <class S>
void launch_third_backward(const EdgeNodes& nodes, const ThirdBackward<S>& pass, cudaStream_t stream);

/// C: from g2 to e = the gradient behind the first batch norm's ReLU, summed over the edges that leave a node
/// and over those that lead to a point, in their order; e itself is not stored.
template <class S>
struct SecondBackward {
  FirstRows first;
  const S *g2, *y2;
  EdgeAffine first_affine, second;
  EdgeCorrection correction;  ///< of the second batch norm
  EdgeProduct product;
  PassCut cut;
  float* outgoing;         ///< [nodes, from] sum over edges that leave the node
  float* incoming;         ///< [points of all sets, from] sum over edges that lead to the point
  float* weight_partials;  ///< [blocks, width, width] of dW2
};
template <class S>
void launch_second_backward(const EdgeNodes& nodes, const SecondBackward<S>& pass, cudaStream_t stream);
/// Sums of e and e (u_i + v_j) over edges, from the sums by node; `partials` [node_blocks, 2 channels + 1].
void launch_terms_moments(const EdgeNodes& nodes, const FirstRows& first, const float* outgoing,
                          const float* incoming, double* partials, cudaStream_t stream);

/// The first batch norm's backward pass, point by point: `gradient` [points of all sets, 2 channels] of u and v.
struct FirstBackward {
  FirstRows first;
  const float *outgoing, *incoming;
  const float* scale;  ///< of the first batch norm
  EdgeCorrection correction;
  float* gradient;
};
void launch_first_backward(const EdgeNodes& nodes, const FirstBackward& pass, cudaStream_t stream);

/// weight [to, from] = sum over blocks of `weight_partials` [blocks, width, width], in their order.
void launch_sum_weights(const float* weight_partials, int blocks, int width, const EdgeProduct& shape,
                        float* weight_gradient, cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
