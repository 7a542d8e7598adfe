// SPDX-License-Identifier: Apache-2.0
#pragma once
/// An ONNX graph in memory: what files hold of it, and no more than our networks need.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bunchtrain::infer::onnx {

/// The numbers are those of ONNX.
enum class Type : std::int32_t { float32 = 1, int64 = 7, boolean = 9 };

/// A constant: dense, row-major.
struct Constant {
  std::string name;
  std::vector<std::int64_t> shape;
  std::variant<std::vector<float>, std::vector<std::int64_t>> values;

  bool operator==(const Constant&) const = default;
};

using Attribute = std::variant<std::int64_t, float, std::vector<std::int64_t>>;

struct Node {
  std::string type;  ///< "MatMul"
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attributes = {};

  bool operator==(const Node&) const = default;
};

/// A dimension is a number, or a name for any number.
using Dimension = std::variant<std::int64_t, std::string>;

struct Value {
  std::string name;
  Type type = Type::float32;
  std::vector<Dimension> shape;

  bool operator==(const Value&) const = default;
};

struct Graph {
  std::string name;
  std::int64_t opset = 17;
  std::vector<Value> inputs, outputs;
  std::vector<Constant> constants;
  std::vector<Node> nodes;                           ///< in the order of their work
  std::map<std::string, std::string> metadata = {};  ///< of the model

  bool operator==(const Graph&) const = default;
};

/// The bytes of a file, ONNX's protobuf.
std::string encode(const Graph& graph);

/// Reads what `encode` wrote, without trust. `origin` is what messages call it.
/// @throws DataError naming what is damaged, or what another program wrote that we do not read.
Graph decode(std::string_view bytes, std::string_view origin);

}  // namespace bunchtrain::infer::onnx
