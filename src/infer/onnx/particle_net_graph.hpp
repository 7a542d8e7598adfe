// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A folded ParticleNet as an ONNX graph.

#include "../lite/folded_network.hpp"
#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// Inputs "points" [B, P, D], "features" [B, P, F] float32 and "mask" [B, P] bool, any B and any P above the number of
/// neighbours; outputs "probabilities" [B, classes] and what heads estimate [B].
/// @param dims D
Graph particle_net_graph(const detail::FoldedNetwork& network, std::int64_t dims, std::int64_t opset);

}  // namespace bunchtrain::infer::onnx
