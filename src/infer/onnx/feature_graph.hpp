// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The features of a card as the beginning of an ONNX graph.

#include <string>

#include "bunchtrain/features/card.hpp"
#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// What a network's graph reads, by name.
struct NetworkInputs {
  std::string points = "points";      ///< [B, P, D] float32
  std::string features = "features";  ///< [B, P, F] float32
  std::string mask = "mask";          ///< [B, P] bool
};

/// Adds raw columns as the graph's inputs, "part.px" [B, P] and "jet.pt" [B] float32, and the nodes that make the card's
/// inputs and mask of them; a card without a mask of its own reads "mask" [B, P] bool beside. Particles are not sorted, cut
/// to the card's length or moved to the front: networks do not depend on their order.
NetworkInputs add_features(const features::Card& card, Graph& graph);

}  // namespace bunchtrain::infer::onnx
