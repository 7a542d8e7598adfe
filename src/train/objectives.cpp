// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/objectives.hpp"

#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& label, const at::Tensor& weight) {
  expects(logits.dim() == 2 && logits.size(0) == label.size(0),
          "cross-entropy needs logits [B, C], one row per label");
  // The softmax stays in float32 under autocast (DESIGN decision 13).
  const at::Tensor wide = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  const at::Tensor log_probability = at::log_softmax(wide, 1).gather(1, label.unsqueeze(1)).squeeze(1);
  at::Tensor terms = -log_probability;
  if (weight.defined()) terms = terms * weight.to(terms.scalar_type());
  return terms.sum() / static_cast<double>(std::max<std::int64_t>(label.size(0), 1));
}

nn::Objective classification(ClassificationOptions options) {
  return [options = std::move(options)](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
    const at::Tensor* weight = batch.tensors.find(options.weight);
    return cross_entropy(outputs[options.output], batch[options.label], weight ? *weight : at::Tensor());
  };
}

}  // namespace bunchtrain::train
