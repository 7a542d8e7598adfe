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

  std::uint64_t bytes() const noexcept {
    return std::visit([](const auto& all) { return all.size() * sizeof(all[0]); }, values);
  }
  bool operator==(const Constant&) const = default;
};

using Attribute = std::variant<std::int64_t, float, std::vector<std::int64_t>>;

struct Node {
  std::string type;  ///< "MatMul"
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attributes = {};
  std::string layer = {};  ///< of the network, or what it computes: "conv1"

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

/// The second file of a model: its large constants, each at a multiple of a page.
struct ExternalData {
  std::string location;  ///< its name, as the model says it
  std::string bytes = {};
};

/// The bytes of a file, ONNX's protobuf. @param external takes the large constants, if it is there
std::string encode(const Graph& graph, ExternalData* external = nullptr);

/// Reads what `encode` wrote, without trust. `origin` is what messages call it, `external` the bytes of the second file.
/// @throws DataError naming what is damaged, or what another program wrote that we do not read.
Graph decode(std::string_view bytes, std::string_view origin, std::string_view external = {});

}  // namespace bunchtrain::infer::onnx
