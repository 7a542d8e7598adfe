// SPDX-License-Identifier: Apache-2.0
#include "generator_graph.hpp"

#include <fmt/format.h>

#include "bunchtrain/models/3dgan/variant.hpp"
#include "graph_builder.hpp"

namespace bunchtrain::infer::onnx {
namespace {

using detail::FoldedConvolution;
using detail::FoldedGenerator;
using Integers = std::vector<std::int64_t>;

/// The dense layer whose outputs are [channel, x, y, z].
detail::FoldedLinear channels_first(const FoldedGenerator& generator) {
  const auto& [x, y, z, channels] = generator.folded;
  const std::int64_t cells = x * y * z;
  detail::FoldedLinear dense = generator.dense;
  for (std::int64_t row = -1; row < dense.in; ++row) {
    const float* from =
        row < 0 ? generator.dense.bias.data() : generator.dense.weight.data() + row * dense.out;
    float* to = row < 0 ? dense.bias.data() : dense.weight.data() + row * dense.out;
    for (std::int64_t cell = 0; cell < cells; ++cell)
      for (std::int64_t c = 0; c < channels; ++c) to[c * cells + cell] = from[cell * channels + c];
  }
  return dense;
}

class GeneratorGraph {
 public:
  GeneratorGraph(const FoldedGenerator& generator, Graph& graph) : generator_(generator), build_(graph) {}

  void add_all() {
    const detail::FoldedLinear dense = channels_first(generator_);
    const auto& [x, y, z, channels] = generator_.folded;
    build_.within("dense");
    const std::string product =
        build_.add("MatMul", {"latent", build_.numbers({dense.in, dense.out}, dense.weight)});
    std::string image = reshape(build_.add("Add", {product, build_.vector(dense.bias)}), {channels, x, y, z});
    for (std::size_t i = 0; i < generator_.layers.size(); ++i) {
      build_.within(fmt::format("conv{}", i + 1));
      image = add_layer(generator_.layers[i], image);
    }
    const ops::Extent3& made = generator_.layers.back().made;
    build_.add_as("image", "Reshape", {image, build_.integers({0, made[0], made[1], made[2]})});
  }

 private:
  /// [B, ...]: 0 keeps what is there.
  std::string reshape(const std::string& x, Integers shape) {
    shape.insert(shape.begin(), 0);
    return build_.add("Reshape", {x, build_.integers(std::move(shape))});
  }

  std::string add_layer(const FoldedConvolution& layer, const std::string& x) {
    std::vector<float> bias;
    for (const float each : layer.bias)
      bias.insert(bias.end(), static_cast<std::size_t>(layer.phases()), each);
    const std::int64_t rows = layer.out * layer.phases();
    const Integers taps(layer.taps.begin(), layer.taps.end());
    Integers pads(layer.before.begin(), layer.before.end());
    pads.insert(pads.end(), layer.after.begin(), layer.after.end());
    std::string image = build_.add(
        "Conv",
        {x, build_.numbers({rows, layer.in, taps[0], taps[1], taps[2]}, layer.weight), build_.vector(bias)},
        {{"kernel_shape", taps}, {"pads", pads}});
    image = layer.slope == 0 ? build_.add("Relu", {image})
                             : build_.add("LeakyRelu", {image}, {{"alpha", layer.slope}});
    if (layer.phases() > 1) image = sort_phases(layer, image);
    if (!layer.has_norm) return image;
    const auto channel = [&](const std::vector<float>& values) {
      return build_.numbers({layer.out, 1, 1, 1}, values);
    };
    return build_.add("Add",
                      {build_.add("Mul", {image, channel(layer.norm.scale)}), channel(layer.norm.shift)});
  }

  /// [B, out fx fy fz, steps] to [B, out, cells].
  std::string sort_phases(const FoldedConvolution& layer, const std::string& x) {
    const auto& [fx, fy, fz] = layer.factor;
    const auto& [nx, ny, nz] = layer.steps;
    const std::string apart = reshape(x, {layer.out, fx, fy, fz, nx, ny, nz});
    const std::string sorted = build_.add("Transpose", {apart}, {{"perm", Integers{0, 1, 5, 2, 6, 3, 7, 4}}});
    const std::string whole = reshape(sorted, {layer.out, nx * fx, ny * fy, nz * fz});
    const Integers made(layer.made.begin(), layer.made.end());
    if (made == Integers{nx * fx, ny * fy, nz * fz}) return whole;
    return build_.add("Slice",
                      {whole, build_.integers({0, 0, 0}), build_.integers(made), build_.integers({2, 3, 4})});
  }

  const FoldedGenerator& generator_;
  GraphBuilder build_;
};

}  // namespace

Graph generator_graph(const FoldedGenerator& generator, std::int64_t opset) {
  const auto [x, y, z] = models::shower_shape(generator.options.variant);
  Graph graph{.name = "3dgan-generator",
              .opset = opset,
              .inputs = {{"latent", Type::float32, {"showers", generator.dense.in}}},
              .outputs = {{"image", Type::float32, {"showers", x, y, z}}},
              .constants = {},
              .nodes = {}};
  GeneratorGraph(generator, graph).add_all();
  return graph;
}

}  // namespace bunchtrain::infer::onnx
