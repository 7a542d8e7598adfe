// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/manual_step.hpp"

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

}  // namespace bunchtrain::train
