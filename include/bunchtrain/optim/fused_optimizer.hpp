// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Fused optimizers: one pass over the arenas per update, on a GPU one launch.

#include <cstdint>
#include <vector>

#include "bunchtrain/optim/optimizer.hpp"

namespace bunchtrain::optim {

/// A stretch of one arena whose parameters have the same hyper-parameters.
struct UpdateRange {
  std::size_t arena;
  std::int64_t begin;     ///< first element, 64-byte aligned
  std::int64_t end;       ///< one past the last, padding included
  std::int64_t in_state;  ///< where it begins in the flat state of what is owned
  double learning_rate;
  double weight_decay;
};

/// Base of the optimizers that work on flat ranges of an arena, whatever parameters lie in them.
class FusedOptimizer : public Optimizer {
 public:
  bool is_repeatable() const noexcept final { return true; }

 protected:
  using Optimizer::Optimizer;
  /// Says by `StepMemory` how one range is updated; `step` counts from 1.
  virtual void plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) = 0;

 private:
  void plan(std::int64_t step) final;
  void apply(const GradientScale& scale, std::int64_t step) final;
  bool moves_averages() const final;
  std::vector<UpdateRange> make_ranges(std::size_t arena);
};

}  // namespace bunchtrain::optim
