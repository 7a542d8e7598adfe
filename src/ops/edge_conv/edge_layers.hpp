// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What goes into the passes over edges of a block and what comes out of them, on any device.

#include <ATen/core/Tensor.h>

#include <array>

namespace bunchtrain::ops::detail {

/// The differentiable inputs. Layer 0 has no weight here: it is already in `terms`.
struct EdgeLayers {
  at::Tensor terms;                   ///< [points, 2 C1]: u, then v
  std::array<at::Tensor, 3> weights;  ///< [-], [C2, C1], [C3, C2]
  std::array<at::Tensor, 3> scales;   ///< batch norms' weights
  std::array<at::Tensor, 3> shifts;   ///< batch norms' biases
};

/// The inputs of the second and third batch norm: all that is stored per edge. A GPU has rows of its own width.
struct EdgeTensors {
  at::Tensor second;                     ///< [edges, C2]
  at::Tensor third;                      ///< [edges, C3]
  at::Tensor second_inert, third_inert;  ///< [1, C]: the row that all inert edges share
};

/// What backward needs to know of the third layer by point instead of by edge: the gradient of a mean is the same for all
/// edges of a point, so that the sums of its batch norm's backward pass need no edge.
struct PassedTensors {
  at::Tensor count;  ///< [points, C3]: edges that the ReLU let through; uint8 on a GPU, else as the terms
  at::Tensor sum;    ///< [points, C3]: of their inputs of the third batch norm; as the terms
};

struct EdgeGradients {
  at::Tensor terms;
  std::array<at::Tensor, 3> weights, scales, shifts;
};

}  // namespace bunchtrain::ops::detail
