// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/registry.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/optim/adam.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ranger.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "bunchtrain/optim/torch_optimizer.hpp"

namespace bunchtrain::optim {

namespace {

using Created = std::unique_ptr<Optimizer>;

struct Entry {
  const char* name;
  Created (*create)(tensor::ParameterArenas& arenas, const CreateOptions& options);
};

AdamWOptions adamw(const CreateOptions& options) {
  return {.learning_rate = options.learning_rate, .weight_decay = options.weight_decay};
}

AdamOptions adam(const CreateOptions& options) {
  return {.learning_rate = options.learning_rate, .weight_decay = options.weight_decay};
}

SgdOptions sgd(const CreateOptions& options) {
  return {.learning_rate = options.learning_rate,
          .momentum = options.momentum.value_or(0.9),
          .weight_decay = options.weight_decay};
}

RangerOptions ranger(const CreateOptions& options) {
  return {.learning_rate = options.learning_rate, .weight_decay = options.weight_decay};
}

RmspropOptions rmsprop(const CreateOptions& options) {
  RmspropOptions chosen = options.rmsprop;
  chosen.learning_rate = options.learning_rate;
  chosen.momentum = options.momentum.value_or(chosen.momentum);
  chosen.weight_decay = options.weight_decay;
  return chosen;
}

template <class Type, auto make_options>
Created make(tensor::ParameterArenas& arenas, const CreateOptions& options) {
  return std::make_unique<Type>(arenas, make_options(options), options.owned);
}

constexpr Entry kOptimizers[] = {{"adamw", &make<AdamW, adamw>},
                                 {"adam", &make<Adam, adam>},
                                 {"sgd", &make<Sgd, sgd>},
                                 {"ranger", &make<Ranger, ranger>},
                                 {"rmsprop", &make<Rmsprop, rmsprop>},
                                 {"torch-adamw", &make<TorchOptimizer, adamw>},
                                 {"torch-adam", &make<TorchOptimizer, adam>},
                                 {"torch-sgd", &make<TorchOptimizer, sgd>},
                                 {"torch-rmsprop", &make<TorchOptimizer, rmsprop>}};

}  // namespace

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Entry& entry : kOptimizers) all.emplace_back(entry.name);
  return all;
}

std::unique_ptr<Optimizer> create(std::string_view name, tensor::ParameterArenas& arenas,
                                  const CreateOptions& options) {
  const auto* const found = std::ranges::find(kOptimizers, name, &Entry::name);
  if (found != std::end(kOptimizers)) return found->create(arenas, options);
  const std::vector<std::string> all = names();
  const std::string meant = nearest(name, all);
  throw ConfigError("optimizer", name,
                    fmt::format("{}{}", fmt::join(all, ", "),
                                meant.empty() ? "" : fmt::format("; did you mean {}?", meant)));
}

}  // namespace bunchtrain::optim
