// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/ema.hpp"

#include <ATen/core/grad_mode.h>

#include "arena_state.hpp"
#include "bunchtrain/core/error.hpp"
#include "option_checks.hpp"

namespace bunchtrain::optim {

Ema::Ema(tensor::ParameterArenas& arenas, double decay) : arenas_(&arenas), decay_(decay) {
  require_fraction("decay", decay);
  const at::NoGradGuard no_grad;
  for (const auto& arena : arenas) averages_.push_back(arena.values().clone());
}

void Ema::update() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < averages_.size(); ++i) averages_[i].lerp_((*arenas_)[i].values(), 1 - decay_);
}

void Ema::exchange() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    tensor::ParameterArena& arena = (*arenas_)[i];
    const at::Tensor parameters = arena.values().clone();
    arena.values().copy_(averages_[i]);
    averages_[i].copy_(parameters);
    arena.bump_versions();
  }
}

StateDict Ema::state() const {
  StateDict result;
  result.set("decay", decay_);
  add_views(result, "average", *arenas_, ownership_of(*arenas_, {}), averages_);
  return result;
}

void Ema::load(const StateDict& state) {
  const double decay = state.real("decay");
  const Ownership all = ownership_of(*arenas_, {});
  require_views(state, "average", *arenas_, all);
  copy_views(state, "average", *arenas_, all, averages_);
  decay_ = decay;
}

}  // namespace bunchtrain::optim
