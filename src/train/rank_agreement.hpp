// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Ranks agree or nobody starts.

#include <span>
#include <string_view>

#include "bunchtrain/mpi/comm.hpp"
#include "run_facts.hpp"

namespace bunchtrain::train {

/// Collective. @throws ConfigError on every rank unless all hold the same facts: it names the first that
/// differs, both values, where they came from and the ranks.
void require_agreement(const mpi::Comm& control, std::span<const Fact> facts, std::string_view advice);

}  // namespace bunchtrain::train
