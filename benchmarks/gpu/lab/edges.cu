// SPDX-License-Identifier: Apache-2.0
// Node values spread over edges and collected again, at the sizes of ParticleNet's three blocks.
// sources: src/ops/edge_conv/cuda/edges.cu
#include "benchmarks/gpu/lab/lab.cuh"
#include "src/ops/edge_conv/cuda/edge_launch.hpp"

namespace {

namespace ops = bunchtrain::ops::detail;

constexpr std::int64_t kSets = 1024;

/// Every point's neighbours are those that follow it, cyclically.
std::vector<std::int32_t> neighbours(const ops::EdgeShape& shape) {
  std::vector<std::int32_t> indices;
  for (std::int64_t set = 0; set < kSets; ++set)
    for (std::int64_t point = 0; point < shape.points; ++point)
      for (std::int64_t n = 1; n <= shape.neighbours; ++n)
        indices.push_back(static_cast<std::int32_t>((point + n) % shape.points));
  return indices;
}

void time_block(std::int64_t channels) {
  const ops::EdgeShape shape{.points = 128, .neighbours = 16, .channels = channels};
  const std::size_t nodes = kSets * shape.points, edges = nodes * shape.neighbours;
  const float* u = lab::upload(lab::numbers(nodes * channels));
  const float* v = lab::upload(lab::numbers(nodes * channels));
  const std::int32_t* indices = lab::upload(neighbours(shape));
  auto* edge_values = lab::allocate<float>(edges * channels);
  auto* offsets = lab::allocate<std::int32_t>(kSets * (shape.points + 1));
  auto* lists = lab::allocate<std::int32_t>(edges);
  auto* fault = lab::allocate<std::int32_t>(1);
  const ops::ReverseIndexPlan plan = ops::plan_reverse_index(shape, kSets);
  auto* scratch = lab::allocate<unsigned char>(static_cast<std::size_t>(plan.scratch_bytes()) + 1);
  auto* u_sum = lab::allocate<float>(nodes * channels);
  auto* v_sum = lab::allocate<float>(nodes * channels);
  const double bytes = 4.0 * static_cast<double>(channels) * static_cast<double>(edges + 2 * nodes);
  const std::string size =
      ", " + std::to_string(kSets) + " x 128 points, k 16, " + std::to_string(channels) + " channels";
  lab::time("spread" + size, bytes, 0, [&](cudaStream_t stream) {
    ops::launch_spread(shape, kSets, u, v, indices, edge_values, fault, stream);
  });
  lab::time("reverse index" + size, 0, 0, [&](cudaStream_t stream) {
    ops::launch_reverse_index(plan, shape, kSets, indices, offsets, lists, scratch, fault, stream);
  });
  lab::time("collect" + size, bytes, 0, [&](cudaStream_t stream) {
    ops::launch_collect<float>(shape, kSets, edge_values, offsets, lists, u_sum, v_sum, stream);
  });
}

}  // namespace

int main() {
  for (const std::int64_t channels : {64, 128, 256}) time_block(channels);
}
