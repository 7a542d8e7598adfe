// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors that are spread over ranks by name, on one of them.

#include <c10/core/Device.h>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::parallel {

/// Collective. Those of all ranks on rank 0, its own first; nothing elsewhere.
NamedTensors gather_tensors(comm::Communicator& ranks, const NamedTensors& ours, c10::Device device);

}  // namespace bunchtrain::parallel
