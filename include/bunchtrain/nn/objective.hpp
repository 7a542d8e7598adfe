// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a network is trained for: from its outputs and a batch to losses.

#include <ATen/core/Tensor.h>

#include <functional>
#include <utility>

#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::nn {

/// Losses of one batch, means over its samples. Of an empty batch 0, with a graph.
struct Losses {
  at::Tensor total;  ///< scalar: what backward begins at
  NamedTensors terms =
      {};  ///< scalars that it is made of, by head, for records; empty: nothing but the total

  Losses() = default;
  Losses(at::Tensor total, NamedTensors terms = {}) : total(std::move(total)), terms(std::move(terms)) {}
};

/// Called by an engine where the outputs are, for training with gradients and for validation without. Keeps
/// no state and draws no random numbers, so that a pass may be cut into microbatches.
using Objective = std::function<Losses(const NamedTensors& outputs, const Batch& batch)>;

}  // namespace bunchtrain::nn
