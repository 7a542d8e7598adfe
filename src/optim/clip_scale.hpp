// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The factor of all gradients in one update: the same source for the host and for the GPU, which finds it
/// without asking the host. The CUDA source defines BUNCHTRAIN_HOST_DEVICE before it includes this file.

#include <cmath>

#ifndef BUNCHTRAIN_HOST_DEVICE
#define BUNCHTRAIN_HOST_DEVICE
#endif

namespace bunchtrain::optim {

/// What an update multiplies its gradients with, and what is asked of them. As `StepOptions`.
struct ScaleRule {
  double gradient_scale;
  double clip_norm;  ///< 0 = no clipping
  bool check_finite;
};

/// As two numbers in memory: [0] scale, [1] norm.
struct ClipScale {
  double scale;  ///< NaN: the gradients are not finite and `check_finite` forbids the update
  double norm;   ///< of the scaled gradients, before clipping
};

BUNCHTRAIN_HOST_DEVICE inline ClipScale find_scale(const ScaleRule& rule, double sum_of_squares) {
  ClipScale found{rule.gradient_scale, std::abs(rule.gradient_scale) * std::sqrt(sum_of_squares)};
  if (rule.check_finite && !std::isfinite(found.norm)) {
    found.scale = NAN;
  } else if (rule.clip_norm > 0 && found.norm > rule.clip_norm) {
    found.scale *= rule.clip_norm / found.norm;
  }
  return found;
}

}  // namespace bunchtrain::optim
