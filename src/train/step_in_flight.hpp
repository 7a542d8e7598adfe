// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A step that was enqueued and whose numbers nobody has read yet.

#include <cstdint>
#include <optional>
#include <vector>

#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/parallel/engine.hpp"
#include "bunchtrain/train/callback.hpp"
#include "bunchtrain/train/manual_step.hpp"
#include "step_log.hpp"

namespace bunchtrain::train {

/// What this rank adds to the means over all ranks.
struct RankLosses {
  double loss = 0;                   ///< times what it is a mean over: samples, elements
  std::vector<LossTerm> terms = {};  ///< likewise: heads of an objective, losses of a manual step
};

struct StepInFlight {
  /// The losses of a pass: one copy for all.
  class PassLosses {
   public:
    explicit PassLosses(const parallel::PassResult& result);
    /// Waits for the pass.
    void add_to(RankLosses& sums) const;

   private:
    std::vector<std::string> terms_;
    device::LateCopy total_and_terms_;
    std::int64_t samples_;
  };

  StepEvent event;  ///< what is known beforehand
  std::int64_t samples = 0;
  std::int64_t global_samples = 0;
  std::int64_t bad_samples = 0;         ///< of this rank
  std::int64_t global_count = 0;        ///< of what losses are means over
  std::vector<PassLosses> passes = {};  ///< of the Trainer
  LossTerms terms = {};                 ///< of a manual step
  StepLog log = {};
  std::optional<optim::StepReport> update = {};  ///< none of a manual step, whose gradients nobody sees
  std::vector<device::LateCopy> loss_scales =
      {};                              ///< of the networks whose losses are scaled, after the step
  device::LateCopy index_faults = {};  ///< of a GPU
  double data_seconds = 0;             ///< for which the host waited
  double host_seconds = 0;             ///< that it took to enqueue the passes; 0: not measured
  device::LateSeconds forward = {}, backward = {}, optimizer = {};
  device::LateSeconds total_exposed = {};  ///< of all networks and steps so far
  std::optional<device::Moment> begin = {}, end = {};

  /// Waits for the step.
  RankLosses losses() const;
  /// The smallest; 1 if losses are not scaled. Waits likewise.
  double loss_scale() const;
};

}  // namespace bunchtrain::train
