// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What ROOT's SOFIE can run of ONNX.

#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// @throws ConfigError naming the layer and the operator that SOFIE does not have.
void require_sofie(const Graph& graph);

}  // namespace bunchtrain::infer::onnx
