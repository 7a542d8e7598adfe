// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Measures the units of a network.

#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/parallel/layout_plan.hpp"

namespace bunchtrain::parallel {

/// Computes and differentiates one unit after another, each four times; the fastest of the last three counts. At no moment
/// more than one unit's graph is in memory. @param example inputs of some samples, on the network's device
UnitProfile profile_units(nn::UnitModel& network, const NamedTensors& example);

}  // namespace bunchtrain::parallel
