// SPDX-License-Identifier: Apache-2.0
#include "particle_net_graph.hpp"

#include <fmt/format.h>

#include "feature_graph.hpp"
#include "graph_builder.hpp"

namespace bunchtrain::infer::onnx {
namespace {

// Keys that neighbours are ordered by are squared distances; what stands behind all of them is above any.
constexpr float kBehind = 1e30F, kLast = 2e30F;

std::string affine(GraphBuilder& build, const std::string& x, const detail::FoldedNorm& norm) {
  return build.add("Add", {build.add("Mul", {x, build.vector(norm.scale)}), build.vector(norm.shift)});
}

std::string linear(GraphBuilder& build, const std::string& x, const detail::FoldedLinear& layer) {
  const std::string product = build.add("MatMul", {x, build.numbers({layer.in, layer.out}, layer.weight)});
  const std::string shifted = build.add("Add", {product, build.vector(layer.bias)});
  return layer.relu ? build.add("Relu", {shifted}) : shifted;
}

/// The two halves of a first layer, [in, C] each.
detail::FoldedLinear half_of(const detail::FoldedLinear& terms, bool neighbour) {
  const std::int64_t channels = terms.out / 2;
  detail::FoldedLinear half{.weight = {},
                            .bias = std::vector<float>(static_cast<std::size_t>(channels), 0.0F),
                            .in = terms.in,
                            .out = channels};
  for (std::int64_t i = 0; i < terms.in; ++i) {
    const auto from = terms.weight.begin() + i * terms.out + (neighbour ? channels : 0);
    half.weight.insert(half.weight.end(), from, from + channels);
  }
  return half;
}

class ParticleNetGraph {
 public:
  ParticleNetGraph(const detail::FoldedNetwork& network, const NetworkInputs& inputs, OnnxProfile profile,
                   Graph& graph)
      : network_(network),
        inputs_(inputs),
        build_(graph),
        profile_(profile),
        zeroed_(network.options.padding == models::PaddingRule::weaver) {}

  void add_all() {
    build_.within("mask");
    real_ = build_.unsqueeze(build_.cast(inputs_.mask, Type::float32), 2);
    add_padding_keys();
    build_.within("bn_fts");
    const std::string features = build_.add("Where", {real_point_, inputs_.features, build_.number(0)});
    std::string x = affine(build_, features, network_.features);
    if (zeroed_) x = build_.add("Mul", {x, real_});
    std::vector<std::string> outputs;
    for (std::size_t i = 0; i < network_.blocks.size(); ++i) {
      build_.within(fmt::format("edge_convs.{}", i));
      x = add_block(network_.blocks[i], i == 0 ? inputs_.points : x, x);
      outputs.push_back(x);
    }
    build_.within("fusion_block");
    if (network_.fusion) x = linear(build_, build_.concatenate(outputs), *network_.fusion);
    build_.within("fc");
    add_outputs(linear(build_, pool(x), network_.hidden));
  }

 private:
  /// [1, P, P]: whether a slot is asked for itself. Of padded slots the order of others: padding first.
  void add_padding_keys() {
    const std::string shape = build_.add("Shape", {inputs_.mask});
    const std::string size = build_.add("Gather", {shape, build_.integer(1)});
    const std::string slots = up_to(size);
    if (profile_ == OnnxProfile::sofie) {
      const std::string jets = up_to(build_.add("Gather", {shape, build_.integer(0)}));
      first_slot_ = build_.add("Unsqueeze", {build_.add("Mul", {jets, size}), build_.integers({1, 2})});
    }
    self_ =
        build_.unsqueeze(build_.add("Equal", {build_.unsqueeze(slots, 0), build_.unsqueeze(slots, 1)}), 0);
    real_neighbour_ = build_.unsqueeze(inputs_.mask, 1);
    real_point_ = build_.unsqueeze(inputs_.mask, 2);
    if (!zeroed_) of_padding_ = build_.cast(real_neighbour_, Type::float32);
  }

  /// 0, 1, ... below a number.
  std::string up_to(const std::string& count) {
    return build_.add("Range", {build_.integer(0), count, build_.integer(1)});
  }

  /// Rows of [B, P, C] at positions [B, P, K]: [B, P, K, C]. SOFIE gathers rows of matrices alone.
  std::string gather(const std::string& x, const std::string& positions, std::int64_t channels) {
    if (profile_ == OnnxProfile::ort)
      return build_.add("GatherND", {x, build_.unsqueeze(positions, 3)}, {{"batch_dims", std::int64_t{1}}});
    const std::string rows = build_.add("Reshape", {x, build_.integers({-1, channels})});
    return build_.add("Gather", {rows, build_.add("Add", {positions, first_slot_})},
                      {{"axis", std::int64_t{0}}});
  }

  /// Positions of neighbours, [B, P, K].
  std::string neighbours(const std::string& space, std::int64_t k) {
    const std::string difference =
        build_.add("Sub", {build_.unsqueeze(space, 2), build_.unsqueeze(space, 1)});
    const std::string distance = build_.sum(build_.add("Mul", {difference, difference}), 3, false);
    std::string key = build_.add("Where", {real_neighbour_, distance, build_.number(kBehind)});
    if (!zeroed_) key = build_.add("Where", {real_point_, key, of_padding_});
    key = build_.add("Where", {self_, build_.number(kLast), key});
    return top(key, k);
  }

  std::string top(const std::string& key, std::int64_t k) {
    return build_.add_second(
        "TopK", {key, build_.integers({k})},
        {{"axis", std::int64_t{-1}}, {"largest", std::int64_t{0}}, {"sorted", std::int64_t{1}}});
  }

  std::string add_block(const detail::FoldedBlock& block, const std::string& space, const std::string& x) {
    const std::string indices = neighbours(space, block.k);
    const std::string own = build_.unsqueeze(linear(build_, x, half_of(block.terms, false)), 2);
    const std::string other = linear(build_, x, half_of(block.terms, true));
    const std::string gathered = gather(other, indices, block.terms.out / 2);
    std::string edges = build_.add("Relu", {affine(build_, build_.add("Add", {own, gathered}), block.first)});
    edges = linear(build_, linear(build_, edges, block.second), block.third);
    edges = build_.add("Relu", {affine(build_, edges, block.last)});
    const std::string mean = build_.add(
        "ReduceMean", {edges}, {{"axes", std::vector<std::int64_t>{2}}, {"keepdims", std::int64_t{0}}});
    const std::string shortcut = block.shortcut ? linear(build_, x, *block.shortcut) : x;
    const std::string out = build_.add("Relu", {build_.add("Add", {mean, shortcut})});
    return zeroed_ ? build_.add("Mul", {out, real_}) : out;
  }

  std::string pool(const std::string& x) {
    const std::string masked = build_.add("Mul", {x, real_});
    if (!zeroed_)
      return build_.add("ReduceMean", {masked},
                        {{"axes", std::vector<std::int64_t>{1}}, {"keepdims", std::int64_t{0}}});
    const std::string count = build_.add("Max", {build_.sum(real_, 1, false), build_.number(1)});
    return build_.add("Div", {build_.sum(masked, 1, false), count});
  }

  void add_outputs(const std::string& hidden) {
    build_.add_as("probabilities", "Softmax", {linear(build_, hidden, network_.output)},
                  {{"axis", std::int64_t{-1}}});
    for (std::size_t i = 0; i < network_.heads.size(); ++i) {
      const models::RegressionHead& head = network_.options.heads[i];
      build_.within("heads." + head.name);
      detail::FoldedLinear layer = network_.heads[i];
      add_column(hidden, layer, 0, head.name, false, head.width, head.mean);
      // (softplus(x) + 1e-3) * width, as models::ParticleNet has it.
      if (head.own_width)
        add_column(hidden, layer, 1, models::width_output(head.name), true, head.width, 1e-3 * head.width);
    }
  }

  /// log(1 + exp(x)) of operators that every runtime has, without overflow.
  std::string soft_plus(const std::string& x) {
    const std::string small = build_.add("Exp", {build_.add("Neg", {build_.add("Abs", {x})})});
    const std::string log = build_.add("Log", {build_.add("Add", {small, build_.number(1)})});
    return build_.add("Add", {build_.add("Relu", {x}), log});
  }

  /// One output of a head, [B]: a column of its layer, times `width`, plus `shift`.
  void add_column(const std::string& hidden, const detail::FoldedLinear& layer, std::int64_t column,
                  const std::string& name, bool softplus, double width, double shift) {
    std::vector<float> weight;
    for (std::int64_t i = 0; i < layer.in; ++i)
      weight.push_back(layer.weight[static_cast<std::size_t>(i * layer.out + column)]);
    const std::string product =
        build_.add("MatMul", {hidden, build_.numbers({layer.in, 1}, std::move(weight))});
    std::string x = build_.add("Add", {product, build_.number(layer.bias[static_cast<std::size_t>(column)])});
    if (softplus) x = soft_plus(x);
    x = build_.add("Add", {build_.add("Mul", {x, build_.number(static_cast<float>(width))}),
                           build_.number(static_cast<float>(shift))});
    build_.add_as(name, "ReduceSum", {x, build_.integers({1})}, {{"keepdims", std::int64_t{0}}});
  }

  const detail::FoldedNetwork& network_;
  const NetworkInputs& inputs_;
  GraphBuilder build_;
  OnnxProfile profile_;
  bool zeroed_;
  std::string first_slot_;  ///< [B, 1, 1] among the rows of all jets
  std::string real_, self_, real_neighbour_, real_point_, of_padding_;
};

}  // namespace

Graph particle_net_graph(const detail::FoldedNetwork& network, const GraphOptions& options) {
  const auto& shape = network.options;
  Graph graph{.name = "particlenet",
              .opset = options.opset,
              .inputs = {},
              .outputs = {},
              .constants = {},
              .nodes = {}};
  NetworkInputs inputs;
  if (options.card)
    inputs = add_features(*options.card, graph);
  else
    graph.inputs = {{"points", Type::float32, {"jets", "particles", options.dims}},
                    {"features", Type::float32, {"jets", "particles", shape.num_features}},
                    {"mask", Type::boolean, {"jets", "particles"}}};
  graph.outputs = {{"probabilities", Type::float32, {"jets", shape.num_classes}}};
  for (const models::RegressionHead& head : shape.heads) {
    graph.outputs.push_back({head.name, Type::float32, {"jets"}});
    if (head.own_width) graph.outputs.push_back({models::width_output(head.name), Type::float32, {"jets"}});
  }
  ParticleNetGraph(network, inputs, options.profile, graph).add_all();
  return graph;
}

}  // namespace bunchtrain::infer::onnx
