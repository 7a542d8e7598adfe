// SPDX-License-Identifier: Apache-2.0
#include "sofie.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::infer::onnx {
namespace {

// "Supported ONNX operators" of tmva/sofie/README.md in root-project/root, as of 2026; without random numbers and If.
constexpr std::string_view kOperators[] = {"Abs",
                                           "Add",
                                           "AveragePool",
                                           "BatchNormalization",
                                           "Cast",
                                           "Concat",
                                           "Constant",
                                           "ConstantOfShape",
                                           "Conv",
                                           "ConvTranspose",
                                           "Cos",
                                           "Div",
                                           "Einsum",
                                           "Elu",
                                           "Equal",
                                           "Erf",
                                           "Exp",
                                           "Expand",
                                           "EyeLike",
                                           "Flatten",
                                           "GRU",
                                           "Gather",
                                           "Gemm",
                                           "GlobalAveragePool",
                                           "Greater",
                                           "GreaterOrEqual",
                                           "Identity",
                                           "LSTM",
                                           "LayerNormalization",
                                           "LeakyRelu",
                                           "Less",
                                           "LessOrEqual",
                                           "Log",
                                           "MatMul",
                                           "Max",
                                           "MaxPool",
                                           "Mean",
                                           "Min",
                                           "Mul",
                                           "Neg",
                                           "Pad",
                                           "Pow",
                                           "RNN",
                                           "Range",
                                           "Reciprocal",
                                           "ReduceMean",
                                           "ReduceProd",
                                           "ReduceSum",
                                           "ReduceSumSquare",
                                           "Relu",
                                           "Reshape",
                                           "ScatterElements",
                                           "Selu",
                                           "Shape",
                                           "Sigmoid",
                                           "Sin",
                                           "Slice",
                                           "Softmax",
                                           "Split",
                                           "Sqrt",
                                           "Squeeze",
                                           "Sub",
                                           "Sum",
                                           "Tanh",
                                           "Tile",
                                           "TopK",
                                           "Transpose",
                                           "Unsqueeze",
                                           "Where"};

}  // namespace

void require_sofie(const Graph& graph) {
  for (const Node& node : graph.nodes)
    if (std::ranges::find(kOperators, node.type) == std::end(kOperators))
      throw ConfigError(fmt::format("{} needs {}, an operator that ROOT's SOFIE does not have: take {}",
                                    node.layer.empty() ? "the network" : node.layer, node.type,
                                    setting("profile", "ort")));
}

}  // namespace bunchtrain::infer::onnx
