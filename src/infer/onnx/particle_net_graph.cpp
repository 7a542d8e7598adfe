// SPDX-License-Identifier: Apache-2.0
#include "particle_net_graph.hpp"

#include <fmt/format.h>

namespace bunchtrain::infer::onnx {
namespace {

// Keys that neighbours are ordered by are squared distances; what stands behind all of them is above any.
constexpr float kBehind = 1e30F, kLast = 2e30F;

/// Adds nodes and constants under names of its own.
class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  std::string add(const char* type, std::vector<std::string> inputs,
                  std::map<std::string, Attribute> attributes = {}) {
    std::string output = fmt::format("{}_{}", type, graph_.nodes.size());
    return add_as(std::move(output), type, std::move(inputs), std::move(attributes));
  }
  std::string add_as(std::string output, const char* type, std::vector<std::string> inputs,
                     std::map<std::string, Attribute> attributes = {}) {
    graph_.nodes.push_back({type, std::move(inputs), {output}, std::move(attributes)});
    return output;
  }
  /// The second of two outputs.
  std::string add_second(const char* type, std::vector<std::string> inputs,
                         std::map<std::string, Attribute> attributes) {
    const std::string output = add(type, std::move(inputs), std::move(attributes));
    graph_.nodes.back().outputs = {output + "_first", output};
    return output;
  }
  std::string numbers(std::vector<std::int64_t> shape, std::vector<float> values) {
    return keep({.name = "", .shape = std::move(shape), .values = std::move(values)});
  }
  std::string number(float value) { return numbers({}, {value}); }
  std::string vector(const std::vector<float>& values) { return numbers({std::ssize(values)}, values); }
  std::string integers(std::vector<std::int64_t> values) {
    const std::vector<std::int64_t> shape = {std::ssize(values)};
    return keep({.name = "", .shape = shape, .values = std::move(values)});
  }
  std::string integer(std::int64_t value) {
    return keep({.name = "", .shape = {}, .values = std::vector<std::int64_t>{value}});
  }

  std::string unsqueeze(const std::string& x, std::int64_t axis) {
    return add("Unsqueeze", {x, integers({axis})});
  }
  std::string sum(const std::string& x, std::int64_t axis, bool keep) {
    return add("ReduceSum", {x, integers({axis})}, {{"keepdims", std::int64_t{keep}}});
  }
  std::string affine(const std::string& x, const detail::FoldedNorm& norm) {
    return add("Add", {add("Mul", {x, vector(norm.scale)}), vector(norm.shift)});
  }
  std::string linear(const std::string& x, const detail::FoldedLinear& layer) {
    const std::string product = add("MatMul", {x, numbers({layer.in, layer.out}, layer.weight)});
    const std::string shifted = add("Add", {product, vector(layer.bias)});
    return layer.relu ? add("Relu", {shifted}) : shifted;
  }

 private:
  std::string keep(Constant constant) {
    constant.name = fmt::format("constant_{}", graph_.constants.size());
    graph_.constants.push_back(std::move(constant));
    return graph_.constants.back().name;
  }

  Graph& graph_;
};

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
  ParticleNetGraph(const detail::FoldedNetwork& network, Graph& graph)
      : network_(network), build_(graph), zeroed_(network.options.padding == models::PaddingRule::weaver) {}

  void add_all() {
    real_ = build_.unsqueeze(build_.add("Cast", {"mask"}, {{"to", std::int64_t{1}}}), 2);
    add_padding_keys();
    const std::string features = build_.add("Where", {real_point_, "features", build_.number(0)});
    std::string x = build_.affine(features, network_.features);
    if (zeroed_) x = build_.add("Mul", {x, real_});
    std::vector<std::string> outputs;
    for (std::size_t i = 0; i < network_.blocks.size(); ++i) {
      x = add_block(network_.blocks[i], i == 0 ? "points" : x, x);
      outputs.push_back(x);
    }
    if (network_.fusion) {
      const std::string all =
          outputs.size() == 1 ? x : build_.add("Concat", outputs, {{"axis", std::int64_t{2}}});
      x = build_.linear(all, *network_.fusion);
    }
    add_outputs(build_.linear(pool(x), network_.hidden));
  }

 private:
  /// [1, P, P]: whether a slot is asked for itself. Of padded slots the order of others: padding first.
  void add_padding_keys() {
    const std::string size = build_.add("Gather", {build_.add("Shape", {"mask"}), build_.integer(1)});
    const std::string slots = build_.add("Range", {build_.integer(0), size, build_.integer(1)});
    self_ =
        build_.unsqueeze(build_.add("Equal", {build_.unsqueeze(slots, 0), build_.unsqueeze(slots, 1)}), 0);
    real_neighbour_ = build_.unsqueeze("mask", 1);
    real_point_ = build_.unsqueeze("mask", 2);
    if (!zeroed_) of_padding_ = build_.add("Cast", {real_neighbour_}, {{"to", std::int64_t{1}}});
  }

  /// Positions of neighbours, [B, P, K, 1].
  std::string neighbours(const std::string& space, std::int64_t k) {
    const std::string difference =
        build_.add("Sub", {build_.unsqueeze(space, 2), build_.unsqueeze(space, 1)});
    const std::string distance = build_.sum(build_.add("Mul", {difference, difference}), 3, false);
    std::string key = build_.add("Where", {real_neighbour_, distance, build_.number(kBehind)});
    if (!zeroed_) key = build_.add("Where", {real_point_, key, of_padding_});
    key = build_.add("Where", {self_, build_.number(kLast), key});
    const std::string found = top(key, k);
    return build_.unsqueeze(found, 3);
  }

  std::string top(const std::string& key, std::int64_t k) {
    return build_.add_second(
        "TopK", {key, build_.integers({k})},
        {{"axis", std::int64_t{-1}}, {"largest", std::int64_t{0}}, {"sorted", std::int64_t{1}}});
  }

  std::string add_block(const detail::FoldedBlock& block, const std::string& space, const std::string& x) {
    const std::string indices = neighbours(space, block.k);
    const std::string own = build_.unsqueeze(build_.linear(x, half_of(block.terms, false)), 2);
    const std::string other = build_.linear(x, half_of(block.terms, true));
    const std::string gathered = build_.add("GatherND", {other, indices}, {{"batch_dims", std::int64_t{1}}});
    std::string edges = build_.add("Relu", {build_.affine(build_.add("Add", {own, gathered}), block.first)});
    edges = build_.linear(build_.linear(edges, block.second), block.third);
    edges = build_.add("Relu", {build_.affine(edges, block.last)});
    const std::string mean = build_.add(
        "ReduceMean", {edges}, {{"axes", std::vector<std::int64_t>{2}}, {"keepdims", std::int64_t{0}}});
    const std::string shortcut = block.shortcut ? build_.linear(x, *block.shortcut) : x;
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
    build_.add_as("probabilities", "Softmax", {build_.linear(hidden, network_.output)},
                  {{"axis", std::int64_t{-1}}});
    for (std::size_t i = 0; i < network_.heads.size(); ++i) {
      const models::RegressionHead& head = network_.options.heads[i];
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
  Builder build_;
  bool zeroed_;
  std::string real_, self_, real_neighbour_, real_point_, of_padding_;
};

}  // namespace

Graph particle_net_graph(const detail::FoldedNetwork& network, std::int64_t dims, std::int64_t opset) {
  const auto& options = network.options;
  Graph graph{
      .name = "particlenet", .opset = opset, .inputs = {}, .outputs = {}, .constants = {}, .nodes = {}};
  graph.inputs = {{"points", Type::float32, {"jets", "particles", dims}},
                  {"features", Type::float32, {"jets", "particles", options.num_features}},
                  {"mask", Type::boolean, {"jets", "particles"}}};
  graph.outputs = {{"probabilities", Type::float32, {"jets", options.num_classes}}};
  for (const models::RegressionHead& head : options.heads) {
    graph.outputs.push_back({head.name, Type::float32, {"jets"}});
    if (head.own_width) graph.outputs.push_back({models::width_output(head.name), Type::float32, {"jets"}});
  }
  ParticleNetGraph(network, graph).add_all();
  return graph;
}

}  // namespace bunchtrain::infer::onnx
