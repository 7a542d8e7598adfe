// SPDX-License-Identifier: Apache-2.0
#pragma once
/// RMSprop on arenas, in PyTorch's and in Keras' form.

#include "bunchtrain/optim/fused_optimizer.hpp"

namespace bunchtrain::optim {

/// Where epsilon and the rate enter: `torch` divides by sqrt(v) + epsilon and applies the rate behind the
/// momentum; `keras` divides by sqrt(v + epsilon) and keeps the rate inside the momentum.
enum class RmspropForm { torch, keras };

struct RmspropOptions {
  RmspropForm form = RmspropForm::torch;
  double learning_rate = 1e-3;
  double decay = 0.99;    ///< of the squared gradients: PyTorch's alpha (0.99), Keras' rho (0.9)
  double epsilon = 1e-8;  ///< Keras: 1e-7
  double momentum = 0;
  double weight_decay = 0;  ///< added to the gradient (L2)

  /// Defaults of Keras 2: rho 0.9, epsilon 1e-7 beside the root, as PyTorch has it.
  static RmspropOptions keras2();
  /// Defaults of Keras 3: rho 0.9, epsilon 1e-7 inside the root.
  static RmspropOptions keras3();
  /// @throws ConfigError naming the field.
  void validate() const;
};

/// RMSprop (Hinton, Coursera lecture 6e), equal to `torch::optim::RMSprop` or to
/// `keras.optimizers.RMSprop` (Keras 3).
class Rmsprop : public FusedOptimizer {
 public:
  explicit Rmsprop(tensor::ParameterArenas& arenas, RmspropOptions options = {},
                   const OwnedRanges& owned = {});
  std::string describe() const override;

 protected:
  void plan_range(const UpdateRange& range, StepMemory& memory, std::int64_t step) override;

 private:
  RmspropOptions options_;
  std::vector<at::Tensor>* square_avg_;
  std::vector<at::Tensor>* momentum_ = nullptr;  ///< none without momentum
};

}  // namespace bunchtrain::optim
