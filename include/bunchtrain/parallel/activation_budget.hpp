// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which units of a network are computed again in backward, so that its activations fit into memory.

#include <cstdint>
#include <set>
#include <string>

#include "bunchtrain/parallel/layout_plan.hpp"

namespace bunchtrain::parallel {

struct ActivationChoice {
  std::set<std::string> recomputed = {};  ///< names of units, for `nn::UnitModel::recompute`
  /// At most, of all samples: what units hold from forward to backward, and the largest of those that are computed again.
  double bytes = 0;
  double extra_seconds = 0;  ///< of forward passes computed twice
};

/// The units whose second forward pass takes least time together, among all choices whose activations of `samples` fit into
/// `bytes`: a knapsack, exact but for savings rounded down to a 8192nd of all activations. None, where all fit.
/// @throws ConfigError if not even the thriftiest choice fits, with what that needs
ActivationChoice choose_recomputed(const UnitProfile& profile, std::int64_t samples, double bytes);

}  // namespace bunchtrain::parallel
