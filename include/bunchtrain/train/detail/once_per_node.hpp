// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Work that gives all processes of a node the same, done by one of them.

#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::train {

/// Collective. `make` runs on the first rank of each node, the others get its texts. It communicates nothing.
/// @throws on every rank what `make` threw on any (`mpi::Comm::together`)
std::vector<std::string> once_per_node(const mpi::Comm& ranks,
                                       const std::function<std::vector<std::string>()>& make);

}  // namespace bunchtrain::train
