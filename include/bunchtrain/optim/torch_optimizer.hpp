// SPDX-License-Identifier: Apache-2.0
#pragma once
/// LibTorch's own optimizers on arenas.

#include <memory>
#include <variant>

#include "bunchtrain/optim/adam.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/optim/sgd.hpp"

namespace bunchtrain::optim {

/// Which of them, by its options: `AdamOptions` are for `torch::optim::Adam`.
using TorchOptions = std::variant<SgdOptions, AdamOptions, AdamWOptions, RmspropOptions>;

/// `torch::optim::{SGD, Adam, AdamW, RMSprop}` with all that an `Optimizer` has: clipping, the check for finite
/// gradients, loss scale, groups, and a state in flat storage by parameter name. Equal to the fused ones to
/// rounding, and slower: a few operations per parameter. For comparisons.
///
/// `step` multiplies the gradients in the arenas by clip factor and scale, where they are not 1; on a GPU the
/// host waits for these.
class TorchOptimizer : public Optimizer {
 public:
  /// @throws ConfigError for bad options, or RMSprop in Keras' form, which LibTorch does not have.
  TorchOptimizer(tensor::ParameterArenas& arenas, TorchOptions options, const OwnedRanges& owned = {});
  ~TorchOptimizer() override;
  std::string describe() const override;

 private:
  void apply(const GradientScale& scale, std::int64_t step) override;

  struct Impl;
  TorchOptions options_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::optim
