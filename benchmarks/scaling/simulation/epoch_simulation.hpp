// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Plays an epoch of a data-parallel training, event by event.

#include <cstdint>

#include "../step_time.hpp"
#include "machine.hpp"

namespace scaling {

struct Epoch {
  int ranks = 0;
  std::int64_t steps = 0;  ///< whole ones: the last counts as the others
  double seconds = 0;
  StepTime step;  ///< means over steps and replicas
};

/// Time to sum `bytes` over all ranks: inside each node, then over nodes, by a ring or by a tree, whichever is faster
/// (R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH", 2005).
double sum_seconds(const Machine& machine, int ranks, double bytes);

/// An epoch of the machine's steps. @pre `ranks` is a multiple of `machine.stages.pipeline`.
/// @param seed of the draws of stragglers
Epoch simulate_epoch(const Machine& machine, int ranks, std::uint64_t seed);

/// The machine with `seconds_per_step` as its calibration asks. @throws ConfigError if no time fits.
Machine calibrated(Machine machine, std::uint64_t seed);

/// The machine whose step takes as long as the stages of its profile need for a batch. @throws ConfigError for a profile
/// that does not read, or that no such layout fits.
Machine staged(Machine machine);

}  // namespace scaling
