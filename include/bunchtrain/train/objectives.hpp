// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What networks are trained for: objectives for the Trainer and for any loop.

#include <ATen/core/Tensor.h>

#include <string>

#include "bunchtrain/nn/objective.hpp"

namespace bunchtrain::train {

/// Mean cross-entropy of logits [B, C] against labels [B] int64, in float32 (float64 stays) also under
/// autocast; times `weight` [B] if it is defined (weights of mean 1). No samples give 0, with a graph.
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& label, const at::Tensor& weight = {});

struct ClassificationOptions {
  std::string output = "logits";  ///< of the network, [B, C]
  std::string label = "label";    ///< of the batch, [B] int64
  std::string weight = "weight";  ///< of the batch, [B]; used if it is there
};

/// Cross-entropy of a network's output against the labels of the batch.
nn::Objective classification(ClassificationOptions options = {});

}  // namespace bunchtrain::train
