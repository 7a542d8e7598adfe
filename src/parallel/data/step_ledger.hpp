// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Counts the samples of a step and checks, with the gradients' own collective, that all
/// ranks counted the same step.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::parallel {

class StepLedger {
 public:
  explicit StepLedger(int world) : world_(world) {}

  /// Enters one pass. @throws ConfigError if its counts cannot be meant.
  void add(const PassOptions& options);
  /// samples / global samples of the pass entered last.
  double root_gradient() const noexcept { return root_gradient_; }

  /// Fills the footer of an arena (float32 or float64) before the sum over ranks ...
  void write_footer(const tensor::ParameterArenas& arenas, const at::Tensor& footer) const;
  /// ... and takes it back afterwards. Neither waits for a GPU.
  void take_footer(const at::Tensor& footer);
  /// Checks the footer that was taken last, once. All ranks see the same numbers, so all throw or none.
  /// @throws ConfigError
  void check_footer();

 private:
  struct Taken {
    device::LateCopy sums;
    std::int64_t global_samples;
  };

  int world_;
  std::int64_t samples_ = 0;         ///< of this rank in this step
  std::int64_t global_samples_ = 0;  ///< as the user said, or samples * world
  double root_gradient_ = 1;
  std::optional<Taken> taken_;
};

}  // namespace bunchtrain::parallel
