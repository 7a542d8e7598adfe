// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/step.hpp"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>

#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

LossTerms::LossTerms(const NamedTensors& scalars) {
  std::vector<at::Tensor> values;
  for (const auto& [name, scalar] : scalars) {
    known_.push_back({name});
    values.push_back(scalar.detach());
  }
  if (!values.empty()) late_ = device::LateCopy(at::stack(values));
}

std::vector<LossTerm> LossTerms::values() const {
  std::vector<LossTerm> terms = known_;
  const auto numbers = late_.values();
  for (std::size_t i = 0; i < numbers.size(); ++i) terms[i].value = numbers[i];
  return terms;
}

StepResult classify(const at::Tensor& logits, const Batch& batch) {
  const at::Tensor& label = batch["label"];
  expects(logits.dim() == 2 && logits.size(0) == label.size(0),
          "a classification step needs logits [B, C], one row per label");
  // The softmax stays in float32 under autocast (DESIGN decision 13).
  const at::Tensor wide = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  const at::Tensor log_probability = at::log_softmax(wide, 1).gather(1, label.unsqueeze(1)).squeeze(1);
  at::Tensor terms = -log_probability;
  if (const at::Tensor* weight = batch.tensors.find("weight"))
    terms = terms * weight->to(terms.scalar_type());
  const double count = static_cast<double>(std::max<std::int64_t>(label.size(0), 1));
  return {.loss = terms.sum() / count, .outputs = logits, .samples = label.size(0)};
}

}  // namespace bunchtrain::train
