// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Makes sure that all ranks built the same network before its tensors travel.

#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::parallel {

/// Collective. @throws ConfigError on every rank if names, shapes, dtypes or the number of parameters differ.
void require_same_network(const comm::Communicator& communicator,
                          const std::vector<tensor::NamedParameter>& tensors);

}  // namespace bunchtrain::parallel
