// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What ranks do to the buffers of a module together.

#include <cstdint>

#include "bunchtrain/comm/communicator.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::parallel {

/// Collective: floating buffers become their mean over ranks weighted with `samples`, integer ones their
/// maximum. Nothing changes if no rank has samples.
void combine_buffers(torch::nn::Module& module, comm::Communicator& communicator, std::int64_t samples);

/// Collective.
void broadcast_buffers(torch::nn::Module& module, comm::Communicator& communicator, int root);

}  // namespace bunchtrain::parallel
