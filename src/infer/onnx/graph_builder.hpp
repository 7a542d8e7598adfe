// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Adds nodes and constants to a graph under names of its own.

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// Values are known by their names; every function gives that of its output. Keeps the graph.
class GraphBuilder {
 public:
  explicit GraphBuilder(Graph& graph) : graph_(graph) {}

  /// The layer that the nodes that follow belong to.
  void within(std::string layer) { layer_ = std::move(layer); }

  std::string add(const char* type, std::vector<std::string> inputs,
                  std::map<std::string, Attribute> attributes = {}) {
    std::string output = fmt::format("{}_{}", type, graph_.nodes.size());
    return add_as(std::move(output), type, std::move(inputs), std::move(attributes));
  }
  std::string add_as(std::string output, const char* type, std::vector<std::string> inputs,
                     std::map<std::string, Attribute> attributes = {}) {
    graph_.nodes.push_back({type, std::move(inputs), {output}, std::move(attributes), layer_});
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
  std::string number(double value) { return numbers({}, {static_cast<float>(value)}); }
  std::string vector(const std::vector<float>& values) { return numbers({std::ssize(values)}, values); }
  std::string integers(std::vector<std::int64_t> values) {
    const std::vector<std::int64_t> shape = {std::ssize(values)};
    return keep({.name = "", .shape = shape, .values = std::move(values)});
  }
  std::string integer(std::int64_t value) {
    return keep({.name = "", .shape = {}, .values = std::vector<std::int64_t>{value}});
  }

  std::string cast(const std::string& x, Type type) {
    return add("Cast", {x}, {{"to", static_cast<std::int64_t>(type)}});
  }
  std::string unsqueeze(const std::string& x, std::int64_t axis) {
    return add("Unsqueeze", {x, integers({axis})});
  }
  std::string sum(const std::string& x, std::int64_t axis, bool keep) {
    return add("ReduceSum", {x, integers({axis})}, {{"keepdims", std::int64_t{keep}}});
  }
  /// Along axis 2 of three.
  std::string concatenate(const std::vector<std::string>& parts) {
    return parts.size() == 1 ? parts.front() : add("Concat", parts, {{"axis", std::int64_t{2}}});
  }

 private:
  std::string keep(Constant constant) {
    constant.name = fmt::format("constant_{}", graph_.constants.size());
    graph_.constants.push_back(std::move(constant));
    return graph_.constants.back().name;
  }

  Graph& graph_;
  std::string layer_;
};

}  // namespace bunchtrain::infer::onnx
