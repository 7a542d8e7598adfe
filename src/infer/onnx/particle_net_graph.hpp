// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A folded ParticleNet as an ONNX graph.

#include <cstdint>

#include "../lite/folded_network.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "graph.hpp"

namespace bunchtrain::infer::onnx {

struct GraphOptions {
  std::int64_t opset = 17;
  OnnxProfile profile = OnnxProfile::ort;
  std::int64_t dims = 2;                 ///< D
  const features::Card* card = nullptr;  ///< whose features come first
};

/// Inputs "points" [B, P, D], "features" [B, P, F] float32 and "mask" [B, P] bool, or the raw columns of a card; any B and
/// any P above the number of neighbours; outputs "probabilities" [B, classes] and what heads estimate [B].
Graph particle_net_graph(const detail::FoldedNetwork& network, const GraphOptions& options);

}  // namespace bunchtrain::infer::onnx
