// SPDX-License-Identifier: Apache-2.0
// The passes of training over the edges of ParticleNet's blocks (F2, F3, B, C) with all tiles that fit the card; prints the card's line of
// kTrainingLines in src/ops/edge_conv/cuda/edge_tiles.hpp.
// sources: src/ops/edge_conv/cuda/fused_forward.cu src/ops/edge_conv/cuda/fused_third_backward.cu
// sources: src/ops/edge_conv/cuda/fused_second_backward.cu
#include <type_traits>

#include "benchmarks/gpu/lab/edge_inputs.cuh"

namespace {

using bunchtrain::Bf16;
using bunchtrain::ExactFloat;
using lab::kAllPoints;
namespace ops = bunchtrain::ops::detail;
using ops::EdgePass;
using ops::PassTiles;

constexpr std::size_t kEdges = kAllPoints * lab::kNeighbours;

/// Memory of all types and widths in turn, as large as the largest: 7 GB.
struct Buffers {
  float* terms = lab::upload(lab::numbers(kAllPoints * 2 * ops::kWidestEdge));
  float* gradient = lab::upload(lab::numbers(kAllPoints * ops::kWidestEdge));
  float* y2 = lab::allocate<float>(kEdges * ops::kWidestEdge);
  float* y3 = lab::allocate<float>(kEdges * ops::kWidestEdge);
  float* g2 = lab::allocate<float>(kEdges * ops::kWidestEdge);
  float* outgoing = lab::allocate<float>(kAllPoints * ops::kWidestEdge);
  float* incoming = lab::allocate<float>(kAllPoints * ops::kWidestEdge);
  double* partials = lab::allocate<double>(ops::kMostPassBlocks * (2 * ops::kWidestEdge + 1));
  float* weight_partials =
      lab::allocate<float>(std::size_t{ops::kMostPassBlocks} * ops::kWidestEdge * ops::kWidestEdge);
  ops::EdgeNodes nodes = lab::make_nodes();
};

/// One width and type of edges.
template <class S>
struct Passes {
  const Buffers& buffers;
  int width;
  ops::EdgeAffine affine = lab::make_affine(width);
  ops::EdgeCorrection correction{lab::upload(lab::numbers(width)), lab::upload(lab::numbers(width))};
  ops::EdgeProduct product{lab::upload(lab::numbers(static_cast<std::size_t>(width) * width)), width, width};

  ops::PassCut cut(EdgePass pass, const PassTiles& tiles) const {
    const int blocks = pass == EdgePass::second_backward ? ops::most_set_blocks(width)
                                                         : ops::most_tile_blocks(sizeof(S), width);
    return {width, blocks, tiles};
  }
  ops::FirstRows first() const { return {buffers.terms, width, width}; }
  S* edges(float* memory) const { return reinterpret_cast<S*>(memory); }

  void launch(EdgePass pass, const PassTiles& tiles, cudaStream_t stream) const {
    const ops::PassCut own = cut(pass, tiles);
    S *y2 = edges(buffers.y2), *y3 = edges(buffers.y3), *g2 = edges(buffers.g2);
    if (pass == EdgePass::second_layer)
      ops::launch_second_layer<S>(buffers.nodes, first(), affine, product, own, y2, buffers.partials, stream);
    else if (pass == EdgePass::third_layer)
      ops::launch_third_layer<S>(buffers.nodes, y2, affine, product, own, y3, buffers.partials, stream);
    else if (pass == EdgePass::third_backward)
      ops::launch_third_backward<S>(buffers.nodes,
                                    {.gradient = buffers.gradient,
                                     .gradient_size = width,
                                     .y2 = y2,
                                     .y3 = y3,
                                     .second = affine,
                                     .third = affine,
                                     .correction = correction,
                                     .product = product,
                                     .cut = own,
                                     .g2 = g2,
                                     .partials = buffers.partials,
                                     .weight_partials = buffers.weight_partials},
                                    stream);
    else
      ops::launch_second_backward<S>(buffers.nodes,
                                     {.first = first(),
                                      .g2 = g2,
                                      .y2 = y2,
                                      .first_affine = affine,
                                      .second = affine,
                                      .correction = correction,
                                      .product = product,
                                      .cut = own,
                                      .outgoing = buffers.outgoing,
                                      .incoming = buffers.incoming,
                                      .weight_partials = buffers.weight_partials},
                                     stream);
  }

  /// The fastest tiles of a pass, whose input the passes before have left.
  PassTiles fastest(EdgePass pass, const char* type, std::size_t shared_bytes) const {
    constexpr const char* kNames[] = {"F2", "F3", "B", "C"};
    constexpr int kEdgeTensors[] = {1, 2, 3, 2}, kProducts[] = {1, 1, 2, 2};
    const auto place = static_cast<int>(pass);
    const double numbers = static_cast<double>(kEdges) * width;
    PassTiles best;
    double least = 0;
    for (int columns = 64; columns <= ops::most_columns<S>(pass, width); columns *= 2)
      for (const int stages : {1, 2}) {
        const PassTiles tiles{columns, stages};
        if (ops::pass_bytes<S>(pass, width, tiles, lab::kPoints) > shared_bytes) continue;
        const std::string what = std::string(kNames[place]) + " of " + type + ", width " +
                                 std::to_string(width) + ", " + std::to_string(columns) + " columns, " +
                                 std::to_string(stages) + (stages == 1 ? " stage" : " stages");
        const double median = lab::time(what, numbers * kEdgeTensors[place] * sizeof(S),
                                        2.0 * numbers * width * kProducts[place],
                                        [&](cudaStream_t stream) { launch(pass, tiles, stream); });
        if (least > 0 && median >= least) continue;
        least = median;
        best = tiles;
      }
    return best;
  }
};

/// As it stands in the table.
template <class S>
std::string tiles_by_width(const Buffers& buffers, const char* type, std::size_t shared_bytes) {
  std::string text = "{{";
  for (const int width : lab::kWidths) {
    const Passes<S> passes{buffers, width};
    text += width == 64 ? "{{" : ", {{";
    for (const EdgePass pass : ops::kEdgePasses) {
      const PassTiles best = passes.fastest(pass, type, shared_bytes);
      text += (pass == EdgePass::second_layer ? "{" : ", {") + std::to_string(best.columns) + ", " +
              std::to_string(best.stages) + "}";
    }
    text += "}}";
  }
  return text + "}}";
}

}  // namespace

int main() {
  cudaDeviceProp card{};
  lab::check_launch(cudaGetDeviceProperties(&card, 0));
  const Buffers buffers;
  const std::size_t shared_bytes = card.sharedMemPerBlockOptin;
  const std::string bfloat16 = tiles_by_width<Bf16>(buffers, "bfloat16", shared_bytes),
                    tf32 = tiles_by_width<float>(buffers, "tf32", shared_bytes),
                    exact = tiles_by_width<ExactFloat>(buffers, "float32", shared_bytes);
  std::printf("{%d,\n %s,\n %s,\n %s},  // %s\n", 10 * card.major + card.minor, bfloat16.c_str(),
              tf32.c_str(), exact.c_str(), card.name);
}
