// SPDX-License-Identifier: Apache-2.0
#pragma once
/// RAdam inside Lookahead ("Ranger") on arenas, the optimizer of the published ParticleNet trainings.

#include "bunchtrain/optim/fused_optimizer.hpp"

namespace bunchtrain::optim {

/// The constants of weaver-core.
struct RangerOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.95;
  double beta2 = 0.999;
  double epsilon = 1e-5;
  double weight_decay = 0;           ///< decoupled, as AdamW's
  std::int64_t lookahead_steps = 6;  ///< k: the slow weights move every so many steps; 0 = RAdam alone
  double lookahead_factor = 0.5;     ///< alpha: this far towards the fast weights

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Rectified Adam (Liu et al., 1908.03265) inside Lookahead (Zhang et al., 1907.08610).
class Ranger : public FusedOptimizer {
 public:
  explicit Ranger(tensor::ParameterArenas& arenas, RangerOptions options = {}, const OwnedRanges& owned = {});
  std::string describe() const override;

 protected:
  void plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) override;

 private:
  RangerOptions options_;
  std::vector<at::Tensor>* exp_avg_;
  std::vector<at::Tensor>* exp_avg_sq_;
  std::vector<at::Tensor>* slow_ = nullptr;  ///< slow weights; none without Lookahead
};

}  // namespace bunchtrain::optim
