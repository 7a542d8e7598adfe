// SPDX-License-Identifier: Apache-2.0
#include "step_in_flight.hpp"

#include <ATen/ops/stack.h>

#include <algorithm>
#include <limits>

namespace bunchtrain::train {

StepInFlight::PassLosses::PassLosses(const parallel::PassResult& result) : samples_(result.samples) {
  std::vector<at::Tensor> scalars = {result.losses.total};
  for (const auto& [name, term] : result.losses.terms) {
    terms_.push_back(name);
    scalars.push_back(term.to(result.losses.total.scalar_type()));
  }
  total_and_terms_ = device::LateCopy(terms_.empty() ? result.losses.total : at::stack(scalars));
}

/// A mean over no samples may be NaN: it counts nothing.
void StepInFlight::PassLosses::add_to(RankLosses& sums) const {
  const auto numbers = total_and_terms_.values();
  const auto times_samples = [this](double mean) {
    return samples_ == 0 ? 0 : mean * static_cast<double>(samples_);
  };
  sums.loss += times_samples(numbers[0]);
  sums.terms.resize(terms_.size());
  for (std::size_t i = 0; i < terms_.size(); ++i) {
    sums.terms[i].name = terms_[i];
    sums.terms[i].value += times_samples(numbers[i + 1]);
  }
}

RankLosses StepInFlight::losses() const {
  RankLosses found{.terms = terms.values()};
  // A mean over no samples may be NaN: in a manual step it counts nothing.
  for (auto& term : found.terms) term.value = samples == 0 ? 0 : term.value * static_cast<double>(samples);
  if (!found.terms.empty()) found.loss = found.terms.front().value;
  for (const PassLosses& pass : passes) pass.add_to(found);
  return found;
}

double StepInFlight::loss_scale() const {
  if (loss_scales.empty()) return 1;
  double least = std::numeric_limits<double>::infinity();
  for (const auto& scale : loss_scales) least = std::min(least, scale.values().front());
  return least;
}

}  // namespace bunchtrain::train
