// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the labs of fused EdgeConv compute on: 1024 jets of 128 real particles, 16 neighbours, as ParticleNet has them.

#include "benchmarks/gpu/lab/lab.cuh"
#include "src/ops/edge_conv/cuda/edge_tiles.hpp"
#include "src/ops/edge_conv/cuda/fused_launch.hpp"

namespace lab {

namespace ops = bunchtrain::ops::detail;

inline constexpr int kSets = 1024, kPoints = 128, kNeighbours = 16;
inline constexpr std::size_t kAllPoints = std::size_t{kSets} * kPoints;
inline constexpr int kWidths[] = {64, 128, 256};

/// All points are real, and have those that follow them as neighbours, cyclically.
inline ops::EdgeNodes make_nodes() {
  std::vector<std::int32_t> nodes, first_node = {0}, indices;
  for (int set = 0; set < kSets; ++set) {
    for (int point = 0; point < kPoints; ++point) {
      nodes.push_back(set * kPoints + point);
      for (int n = 1; n <= kNeighbours; ++n) indices.push_back((point + n) % kPoints);
    }
    first_node.push_back(static_cast<std::int32_t>(nodes.size()));
  }
  return {upload(nodes), upload(first_node), upload(indices), kSets, kPoints, kNeighbours};
}

inline ops::EdgeAffine make_affine(int width) {
  return {upload(std::vector<float>(width, 1)), upload(numbers(width))};
}

}  // namespace lab
