// SPDX-License-Identifier: Apache-2.0
#include "step_in_flight.hpp"

#include <algorithm>
#include <limits>

namespace bunchtrain::train {

RankLosses StepInFlight::losses() const {
  RankLosses found{.terms = terms.values()};
  // A mean over no samples may be NaN: in a manual step it counts nothing.
  for (auto& term : found.terms) term.value = samples == 0 ? 0 : term.value * static_cast<double>(samples);
  if (!found.terms.empty()) found.loss = found.terms.front().value;
  for (const Pass& pass : passes)
    found.loss += pass.loss.values().front() * static_cast<double>(pass.samples);
  return found;
}

double StepInFlight::loss_scale() const {
  if (loss_scales.empty()) return 1;
  double least = std::numeric_limits<double>::infinity();
  for (const auto& scale : loss_scales) least = std::min(least, scale.values().front());
  return least;
}

}  // namespace bunchtrain::train
