// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The factor of all gradients in one update: the same source for the host and for the GPU, which finds it
/// without asking the host. The CUDA source defines BUNCHTRAIN_HOST_DEVICE before it includes this file.

#include <cmath>

#ifndef BUNCHTRAIN_HOST_DEVICE
#define BUNCHTRAIN_HOST_DEVICE
#endif

namespace bunchtrain::optim {

/// How a loss scale moves. As `LossScaleOptions`.
struct LossScaleRule {
  double growth;
  double backoff;
  double interval;
};

/// What the losses are scaled with, as two numbers in memory.
struct LossScale {
  double scale;
  double finite_steps;  ///< in a row since the scale was changed
};

/// Its inverse is still a normal number of float32.
constexpr double kLargestLossScale = 0x1p126;

/// What an update multiplies its gradients with, and what is asked of them. As `StepOptions`.
struct ScaleRule {
  double gradient_scale;
  double clip_norm;  ///< 0 = no clipping
  bool check_finite;
  LossScaleRule loss_scale = {};  ///< counts if there is a loss scale
};

/// As two numbers in memory: [0] scale, [1] norm.
struct ClipScale {
  double scale;  ///< NaN: the gradients are not finite, which forbids the update
  double norm;   ///< of the scaled gradients, before clipping
};

BUNCHTRAIN_HOST_DEVICE inline void move_on(LossScale& state, const LossScaleRule& rule, bool finite) {
  if (!finite) {
    state = {state.scale * rule.backoff, 0};
  } else if (state.finite_steps + 1 < rule.interval) {
    state.finite_steps += 1;
  } else {
    const double grown = state.scale * rule.growth;
    state = {grown < kLargestLossScale ? grown : kLargestLossScale, 0};
  }
}

/// @param norm of the gradients as they are
/// @param loss_scale what the gradients are to be divided by, moved on here; it forbids an update with
/// gradients that are not finite as `check_finite` does. nullptr = none
BUNCHTRAIN_HOST_DEVICE inline ClipScale find_scale(const ScaleRule& rule, double norm,
                                                   LossScale* loss_scale) {
  const double factor = loss_scale == nullptr ? rule.gradient_scale : rule.gradient_scale / loss_scale->scale;
  ClipScale found{factor, std::abs(factor) * norm};
  const bool finite = std::isfinite(found.norm);
  if (loss_scale != nullptr) move_on(*loss_scale, rule.loss_scale, finite);
  if (!finite && (rule.check_finite || loss_scale != nullptr)) {
    found.scale = NAN;
  } else if (rule.clip_norm > 0 && found.norm > rule.clip_norm) {
    found.scale *= rule.clip_norm / found.norm;
  }
  return found;
}

}  // namespace bunchtrain::optim
