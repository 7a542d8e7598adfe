// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Ranks that were given different options do not start.

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::train {

/// Collective. @throws ConfigError on every rank unless all have the same program and options (but for those of
/// scope `rank`): it names the first that differs, both values, where they came from and the ranks.
void require_same_options(const mpi::Comm& control, const config::Options& options);

}  // namespace bunchtrain::train
