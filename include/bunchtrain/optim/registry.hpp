// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Optimizers by name.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/optim/optimizer.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::optim {

/// What the optimizers have in common; the rest is as in their own options.
struct CreateOptions {
  double learning_rate = 1e-3;
  double weight_decay = 0;
  std::optional<double> momentum = std::nullopt;  ///< of sgd and rmsprop; unset: 0.9 of sgd
  RmspropOptions rmsprop = {};                    ///< what else "rmsprop" is: `RmspropOptions::keras2()`
  OwnedRanges owned = {};                         ///< of the arenas; unset: all
};

/// "adamw", "adam", "sgd", "ranger", "rmsprop", fused; "torch-adamw", "torch-adam", "torch-sgd",
/// "torch-rmsprop", LibTorch's.
std::vector<std::string> names();
/// @throws ConfigError for an unknown name, with those that there are, or for bad options.
std::unique_ptr<Optimizer> create(std::string_view name, tensor::ParameterArenas& arenas,
                                  const CreateOptions& options = {});

}  // namespace bunchtrain::optim
