// SPDX-License-Identifier: Apache-2.0
// Evaluated EdgeConv in bfloat16 at the sizes of ParticleNet's blocks, with both tiles; prints the card's line of
// src/ops/edge_conv/cuda/edge_tiles.hpp.
// sources: src/ops/edge_conv/cuda/fused_evaluation.cu
#include "benchmarks/gpu/lab/edge_inputs.cuh"

namespace {

using bunchtrain::Bf16;
using lab::kAllPoints;
using lab::kNeighbours;
using lab::make_affine;
namespace ops = bunchtrain::ops::detail;

Bf16* upload_narrow(std::size_t count, float scale) {
  std::vector<Bf16> values;
  for (const float value : lab::numbers(count)) {
    Bf16 narrow;
    ops::store(narrow, scale * value);
    values.push_back(narrow);
  }
  return lab::upload(values);
}

/// The faster tile of a width.
int faster_tile(const ops::EdgeNodes& nodes, int width, std::size_t shared_bytes) {
  const auto channels = static_cast<std::size_t>(width);
  ops::EdgeEvaluation<Bf16> evaluation{
      .rows = upload_narrow(kAllPoints * 3 * channels, 1),
      .row_size = 3 * width,
      .affines = {make_affine(width), make_affine(width), make_affine(width)},
      .weights = {upload_narrow(channels * channels, 0.1F), upload_narrow(channels * channels, 0.1F)},
      .channels = {width, width, width},
      .width = width,
      .tile_nodes = 8,
      .whole = true,
      .shortcut = {.affine = make_affine(width)},
      .out = lab::allocate<float>(kAllPoints * channels)};
  const double bytes = static_cast<double>(kAllPoints * channels) * (3 * sizeof(Bf16) + sizeof(float)),
               flops = 4.0 * static_cast<double>(kAllPoints * kNeighbours * channels * channels);
  int best = 4;
  double least = 0;
  for (const int tile : {4, 8}) {
    if (ops::fused_evaluation_bytes<Bf16>(width, tile) > shared_bytes) continue;
    evaluation.tile_nodes = tile;
    const double median = lab::time(
        "evaluated EdgeConv, width " + std::to_string(width) + ", " + std::to_string(tile) + " nodes", bytes,
        flops, [&](cudaStream_t stream) { ops::launch_evaluation<Bf16>(nodes, evaluation, stream); });
    if (least > 0 && median >= least) continue;
    least = median;
    best = tile;
  }
  return best;
}

}  // namespace

int main() {
  cudaDeviceProp card{};
  lab::check_launch(cudaGetDeviceProperties(&card, 0));
  const ops::EdgeNodes nodes = lab::make_nodes();
  int best[3], i = 0;
  for (const int width : lab::kWidths) best[i++] = faster_tile(nodes, width, card.sharedMemPerBlockOptin);
  std::printf("{%d, {%d, %d, %d}},  // %s\n", 10 * card.major + card.minor, best[0], best[1], best[2],
              card.name);
}
