// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The number of the step, in memory of the networks' device.

#include <cstdint>

#include "bunchtrain/device/step_scalars.hpp"

namespace bunchtrain::train {

/// What random numbers of kernels are keyed by, beside the run's seed and the samples (`nn::StepContext`).
class StepNumber {
 public:
  explicit StepNumber(c10::Device device) : scalars_(device), step_(scalars_.add<std::int64_t>()) {}

  /// Once per step, before its first pass.
  void write(std::int64_t step) {
    scalars_.set(step_, step);
    scalars_.upload();
  }
  /// [1] int64.
  at::Tensor tensor() const { return scalars_.view(step_, at::kLong); }

 private:
  device::StepScalars scalars_;
  device::StepScalar<std::int64_t> step_;
};

}  // namespace bunchtrain::train
