// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Adam on arenas.

#include "bunchtrain/optim/fused_optimizer.hpp"

namespace bunchtrain::optim {

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< added to the gradient (L2); for decoupled decay use AdamW

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Adam (Kingma & Ba, 1412.6980), equal to `torch::optim::Adam`.
class Adam : public FusedOptimizer {
 public:
  explicit Adam(tensor::ParameterArenas& arenas, AdamOptions options = {}, const OwnedRanges& owned = {});
  std::string describe() const override;

 protected:
  void plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) override;

 private:
  AdamOptions options_;
  std::vector<at::Tensor>* exp_avg_;
  std::vector<at::Tensor>* exp_avg_sq_;
};

}  // namespace bunchtrain::optim
