// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/step_graph.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {

std::unique_ptr<StepGraph> create_step_graph(c10::Device /*gpu*/) {
  throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON");
}

bool is_capturing(c10::Device /*device*/) { return false; }

}  // namespace bunchtrain::device
