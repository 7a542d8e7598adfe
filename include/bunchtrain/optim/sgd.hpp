// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stochastic gradient descent on arenas.

#include "bunchtrain/optim/fused_optimizer.hpp"

namespace bunchtrain::optim {

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  bool nesterov = false;    ///< needs momentum
  double weight_decay = 0;  ///< added to the gradient (L2)

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Gradient descent with momentum, plain or Nesterov's, equal to `torch::optim::SGD` without dampening.
class Sgd : public FusedOptimizer {
 public:
  explicit Sgd(tensor::ParameterArenas& arenas, SgdOptions options = {}, const OwnedRanges& owned = {});
  std::string describe() const override;

 protected:
  void plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) override;

 private:
  SgdOptions options_;
  std::vector<at::Tensor>* momentum_ = nullptr;  ///< none without momentum
};

}  // namespace bunchtrain::optim
