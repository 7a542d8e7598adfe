// SPDX-License-Identifier: Apache-2.0
#pragma once
/// AdamW on arenas.

#include "bunchtrain/optim/fused_optimizer.hpp"

namespace bunchtrain::optim {

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Adam with decoupled weight decay (Loshchilov & Hutter, 1711.05101), equal to `torch::optim::AdamW`.
class AdamW : public FusedOptimizer {
 public:
  explicit AdamW(tensor::ParameterArenas& arenas, AdamWOptions options = {}, const OwnedRanges& owned = {});
  std::string describe() const override;

 protected:
  void plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) override;

 private:
  AdamWOptions options_;
  std::vector<at::Tensor>* exp_avg_;
  std::vector<at::Tensor>* exp_avg_sq_;
};

}  // namespace bunchtrain::optim
