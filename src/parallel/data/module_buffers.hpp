// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The buffers of a module: what ranks do to them together, and copies of them.

#include <cstdint>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::parallel {

/// Collective: floating buffers become their mean over ranks weighted with `samples`, integer ones their
/// maximum. Nothing changes if no rank has samples.
void combine_buffers(torch::nn::Module& module, comm::Communicator& communicator, std::int64_t samples);

/// Collective.
void broadcast_buffers(torch::nn::Module& module, comm::Communicator& communicator, int root);

NamedTensors floating_buffers(const torch::nn::Module& module);
StateDict clone(const NamedTensors& tensors);
/// Parameters as they are, copies of buffers.
StateDict with_cloned_buffers(torch::nn::Module& module);
void copy_into(const NamedTensors& target, const NamedTensors& source);

}  // namespace bunchtrain::parallel
