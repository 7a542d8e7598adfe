// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A step that was enqueued and whose numbers nobody has read yet.

#include <cstdint>
#include <optional>
#include <vector>

#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/train/callback.hpp"
#include "bunchtrain/train/step.hpp"

namespace bunchtrain::train {

/// What this rank adds to the means over all ranks.
struct RankLosses {
  double loss = 0;                   ///< times samples
  std::vector<LossTerm> terms = {};  ///< likewise, of a manual step
};

struct StepInFlight {
  struct Pass {
    device::LateCopy loss;
    std::int64_t samples;
  };

  StepEvent event;  ///< what is known beforehand
  std::int64_t samples = 0;
  std::int64_t global_samples = 0;
  std::vector<Pass> passes = {};                 ///< of the Trainer
  LossTerms terms = {};                          ///< of a manual step
  std::optional<optim::StepReport> update = {};  ///< none of a manual step, whose gradients nobody sees
  std::vector<device::LateCopy> loss_scales =
      {};                              ///< of the networks whose losses are scaled, after the step
  device::LateCopy index_faults = {};  ///< of a GPU
  double data_seconds = 0;             ///< for which the host waited
  device::LateSeconds forward = {}, backward = {}, optimizer = {};
  device::LateSeconds total_exposed = {};  ///< of all networks and steps so far
  std::optional<device::Moment> begin = {}, end = {};

  /// Waits for the step.
  RankLosses losses() const;
  /// The smallest; 1 if losses are not scaled. Waits likewise.
  double loss_scale() const;
};

}  // namespace bunchtrain::train
