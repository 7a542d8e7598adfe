// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Dynamic scaling of the loss, for training in float16.

#include <cstdint>

namespace bunchtrain::optim {

/// The loss is multiplied by a scale before backward, so that small gradients are not lost in float16, whose
/// least number is 6e-8; the update divides by it (Micikevicius et al., 1710.03740).
/// A step whose gradients are not finite is left out, and the scale falls; after so many finite steps in a
/// row it rises. The defaults are those of PyTorch's GradScaler.
struct LossScaleOptions {
  double initial = 65536;
  double growth = 2;     ///< factor after `interval` finite steps in a row
  double backoff = 0.5;  ///< factor after a step that was left out
  std::int64_t interval = 2000;

  /// @throws ConfigError naming the field.
  void validate() const;
};

}  // namespace bunchtrain::optim
