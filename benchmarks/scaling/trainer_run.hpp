// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs of a trainer, and what their run folders say of the time of a step.

#include <string>
#include <vector>

#include "scaling_plan.hpp"

namespace scaling {

/// Trains once with `setting`, as a user would from the shell, and reads the measured epochs.
/// @throws Error with the end of the trainer's output if it fails.
std::vector<StepTime> run_trainer(const Plan& plan, const Setting& setting, std::int64_t round);

/// "host: AMD EPYC, 2 CPUs, 23 GiB", as the first run wrote it.
std::string machine_of_runs(const Plan& plan);

}  // namespace scaling
