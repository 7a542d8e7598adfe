// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A folded 3DGAN generator as an ONNX graph.

#include <cstdint>

#include "../lite/folded_generator.hpp"
#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// Input "latent" [B, L] float32, output "image" [B, X, Y, Z]; any B. Convolutions behind an upsampling are those of the
/// phases, sorted into place by a transposition.
Graph generator_graph(const detail::FoldedGenerator& generator, std::int64_t opset);

}  // namespace bunchtrain::infer::onnx
