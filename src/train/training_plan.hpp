// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Everything about a run that is decided before its first step, the same on all ranks.

#include <cstdint>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "run_facts.hpp"
#include "settings.hpp"

namespace bunchtrain::train {

struct TrainingTask;

/// How long a run is, in optimizer steps.
struct RunLength {
  std::int64_t steps_per_epoch = 0;  ///< between validations; the last epoch may be shorter
  std::int64_t total_steps = 0;
  /// Over which the learning rate is planned: those of the first plan where a resumed run has another length.
  std::int64_t schedule_steps = 0;

  std::int64_t epochs() const noexcept { return (total_steps + steps_per_epoch - 1) / steps_per_epoch; }
};

/// @throws ConfigError if the bounds leave no step.
RunLength plan_length(const Settings& settings, std::int64_t samples);

struct TrainingPlan {
  Settings settings;
  RunLength length;
  std::vector<double> peak_rates;  ///< per network, scaled by batch / reference batch
  config::Options effective;       ///< what holds, whether user or program set it
  std::vector<Fact> facts;
};

/// Collective. Resolves the settings and makes sure that all ranks have the same ones and the same data.
/// Warns of options that nothing used so far;
/// ends the program with `--print-config` (`Session::set_up_complete`).
/// @throws ConfigError
TrainingPlan make_plan(Session& session, const TrainingTask& task, const data::Dataset& train,
                       const data::Dataset* valid);

}  // namespace bunchtrain::train
