// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Exponential moving average of the parameters, for validation and for the final model.

#include <vector>

#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::optim {

/// average = decay * average + (1 - decay) * parameters, one call per arena. Starts at the parameters'
/// values. Buffers (batch-norm statistics) are averages already and not kept here. The arenas must outlive
/// it. Not thread-safe.
class Ema {
 public:
  /// @throws ConfigError unless 0 <= decay < 1.
  Ema(tensor::ParameterArenas& arenas, double decay);

  /// Call after each optimizer step, or give it to the step (`StepOptions::average`).
  void update();
  /// Exchanges parameters and averages: once before validating, once after. Two calls restore the same bits.
  void exchange();

  double decay() const noexcept { return decay_; }
  /// Flat, one per arena, laid out as its values.
  const std::vector<at::Tensor>& averages() const noexcept { return averages_; }
  bool is_of(const tensor::ParameterArenas& arenas) const noexcept { return &arenas == arenas_; }

  /// "average.<parameter>" and the decay; views of the live state.
  StateDict state() const;
  /// @throws CheckpointError naming the first differing parameter and shape.
  void load(const StateDict& state);

 private:
  tensor::ParameterArenas* arenas_;
  double decay_;
  std::vector<at::Tensor> averages_;  ///< one per arena
};

}  // namespace bunchtrain::optim
