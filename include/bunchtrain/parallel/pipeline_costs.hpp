// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the stages of a pipeline cost in time and memory.

#include <cstdint>
#include <vector>

namespace bunchtrain::parallel {

/// Of one stage and one microbatch. Times in any one unit.
struct StageCosts {
  double forward = 1;
  double input_gradient = 1;
  double weight_gradient = 1;
  /// Held from its forward to its weight gradient.
  double activation_bytes = 1;

  double backward() const noexcept { return input_gradient + weight_gradient; }
};

struct PipelineCosts {
  std::vector<StageCosts> stages = {};  ///< empty: all stages cost the same
  double transfer = 0;                  ///< from a stage to the next on another rank, either way
};

}  // namespace bunchtrain::parallel
