// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs a graph by plain loops: slow, and made to be read. It proves a file before it is given away.

#include <map>
#include <string>
#include <vector>

#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// A tensor, row-major. Whole numbers and truth values are held as doubles too, which they fit.
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

/// Outputs by name. Every node rounds to float32; of a node with several outputs the last alone is computed.
/// @throws DataError for a node that is not known here or whose inputs do not fit: a graph may be any.
std::map<std::string, Array> evaluate(const Graph& graph, std::map<std::string, Array> inputs);

}  // namespace bunchtrain::infer::onnx
