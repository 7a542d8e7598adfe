// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/torch_optimizer.hpp"

#include <fmt/format.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <utility>

#include "arena_state.hpp"
#include "bunchtrain/core/error.hpp"
#include "option_texts.hpp"

namespace bunchtrain::optim {

namespace {

namespace to = torch::optim;

/// What `to::Optimizer` does not say of its options and states without their types, and its name.
struct Traits {
  const char* name;
  void (*set)(to::OptimizerOptions& options, const HyperParameters& values);
  void (*set_steps)(to::OptimizerParamState& state, std::int64_t steps);
};

template <class Options>
void set(to::OptimizerOptions& options, const HyperParameters& values) {
  static_cast<Options&>(options).lr(values.learning_rate).weight_decay(values.weight_decay);
}

template <class State>
void set_steps(to::OptimizerParamState& state, std::int64_t steps) {
  static_cast<State&>(state).step(steps);
}

constexpr Traits kTraits[] = {
    {"torch::optim::SGD", &set<to::SGDOptions>, nullptr},
    {"torch::optim::Adam", &set<to::AdamOptions>, &set_steps<to::AdamParamState>},
    {"torch::optim::AdamW", &set<to::AdamWOptions>, &set_steps<to::AdamWParamState>},
    {"torch::optim::RMSprop", &set<to::RMSpropOptions>, &set_steps<to::RMSpropParamState>}};

const Traits& traits_of(const TorchOptions& options) { return kTraits[options.index()]; }

std::unique_ptr<to::Optimizer> make(std::vector<to::OptimizerParamGroup> groups, const SgdOptions& options) {
  return std::make_unique<to::SGD>(
      groups, to::SGDOptions(options.learning_rate).momentum(options.momentum).nesterov(options.nesterov));
}

std::unique_ptr<to::Optimizer> make(std::vector<to::OptimizerParamGroup> groups, const AdamOptions& options) {
  return std::make_unique<to::Adam>(
      groups,
      to::AdamOptions(options.learning_rate).betas({options.beta1, options.beta2}).eps(options.epsilon));
}

std::unique_ptr<to::Optimizer> make(std::vector<to::OptimizerParamGroup> groups,
                                    const AdamWOptions& options) {
  return std::make_unique<to::AdamW>(
      groups,
      to::AdamWOptions(options.learning_rate).betas({options.beta1, options.beta2}).eps(options.epsilon));
}

std::unique_ptr<to::Optimizer> make(std::vector<to::OptimizerParamGroup> groups,
                                    const RmspropOptions& options) {
  return std::make_unique<to::RMSprop>(groups, to::RMSpropOptions(options.learning_rate)
                                                   .alpha(options.decay)
                                                   .eps(options.epsilon)
                                                   .momentum(options.momentum));
}

/// Names of the state, as of the fused optimizers.
std::vector<std::string> state_names(const TorchOptions& options) {
  if (const auto* sgd = std::get_if<SgdOptions>(&options))
    return sgd->momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{};
  if (const auto* rmsprop = std::get_if<RmspropOptions>(&options))
    return rmsprop->momentum > 0 ? std::vector<std::string>{"square_avg", "momentum"}
                                 : std::vector<std::string>{"square_avg"};
  return {"exp_avg", "exp_avg_sq"};
}

template <class State>
std::unique_ptr<to::OptimizerParamState> adam_state(const std::vector<at::Tensor>& views) {
  auto state = std::make_unique<State>();
  state->exp_avg(views.at(0)).exp_avg_sq(views.at(1));
  return state;
}

/// LibTorch's state of one parameter, made of `views` in the order of `state_names`.
std::unique_ptr<to::OptimizerParamState> make_state(const TorchOptions& options,
                                                    const std::vector<at::Tensor>& views) {
  if (std::holds_alternative<AdamOptions>(options)) return adam_state<to::AdamParamState>(views);
  if (std::holds_alternative<AdamWOptions>(options)) return adam_state<to::AdamWParamState>(views);
  if (std::holds_alternative<RmspropOptions>(options)) {
    auto state = std::make_unique<to::RMSpropParamState>();
    state->square_avg(views.at(0));
    if (views.size() > 1) state->momentum_buffer(views.at(1));
    return state;
  }
  auto state = std::make_unique<to::SGDParamState>();
  state->momentum_buffer(views.at(0));
  return state;
}

double learning_rate_of(const TorchOptions& options) {
  return std::visit([](const auto& chosen) { return chosen.learning_rate; }, options);
}

double weight_decay_of(const TorchOptions& options) {
  return std::visit([](const auto& chosen) { return chosen.weight_decay; }, options);
}

/// The part's elements of a flat tensor laid out as the arena.
at::Tensor in_arena(const OwnedPart& part, const tensor::ParameterArenas& arenas, const at::Tensor& flat) {
  return flat.narrow(0, arenas[part.arena].segments()[part.segment].offset + part.begin, part.count);
}

void validate(const TorchOptions& options) {
  std::visit([](const auto& chosen) { chosen.validate(); }, options);
  const auto* rmsprop = std::get_if<RmspropOptions>(&options);
  if (rmsprop && rmsprop->form != RmspropForm::torch)
    throw ConfigError("form", "keras", "torch: torch::optim::RMSprop has no other; Rmsprop has both");
}

}  // namespace

struct TorchOptimizer::Impl {
  std::unique_ptr<to::Optimizer> optimizer;
  /// Each is a group of LibTorch's: a parameter, or a flat view of what is owned of one.
  std::vector<OwnedPart> parts;
  std::vector<at::Tensor> values;
};

// States are views of flat storage from the beginning, at zero as LibTorch would make them: its updates work in
// place, so that what the base class saves and loads is theirs.
TorchOptimizer::TorchOptimizer(tensor::ParameterArenas& arenas, TorchOptions options,
                               const OwnedRanges& owned)
    : Optimizer(arenas, traits_of(options).name, learning_rate_of(options), weight_decay_of(options), owned),
      options_(std::move(options)),
      impl_(std::make_unique<Impl>()) {
  validate(options_);
  std::vector<const std::vector<at::Tensor>*> states;
  for (std::string& name : state_names(options_)) states.push_back(&add_state(std::move(name)));
  impl_->parts = parts_of(arenas, ownership_of(arenas, owned));
  std::vector<to::OptimizerParamGroup> groups;
  for (const OwnedPart& part : impl_->parts) {
    impl_->values.push_back(part.is_whole(arenas) ? arenas[part.arena].parameter(part.segment)
                                                  : in_arena(part, arenas, arenas[part.arena].values()));
    groups.emplace_back(std::vector<at::Tensor>{impl_->values.back()});
  }
  impl_->optimizer =
      std::visit([&](const auto& chosen) { return make(std::move(groups), chosen); }, options_);
  if (states.empty()) return;
  for (std::size_t i = 0; i < impl_->parts.size(); ++i) {
    std::vector<at::Tensor> views;
    for (const auto* flat : states)
      views.push_back(view_of(impl_->parts[i], arenas, (*flat)[impl_->parts[i].arena]));
    impl_->optimizer->state()[impl_->values[i].unsafeGetTensorImpl()] = make_state(options_, views);
  }
}

TorchOptimizer::~TorchOptimizer() = default;

std::string TorchOptimizer::describe() const {
  return fmt::format(
      "{}({})", traits_of(options_).name,
      std::visit([&](const auto& chosen) { return text_of(chosen, learning_rate()); }, options_));
}

void TorchOptimizer::apply(const GradientScale& scale, std::int64_t step) {
  const double factor =
      scale.on_device.defined() ? device::LateCopy(scale.on_device).values().front() : scale.value;
  if (!std::isfinite(factor)) return;
  if (factor != 1)
    for (std::size_t i = 0; i < arenas().size(); ++i)
      arenas()[i].gradients().slice(0, owned(i).begin, owned(i).end).mul_(factor);
  const Traits& traits = traits_of(options_);
  auto& groups = impl_->optimizer->param_groups();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const OwnedPart& part = impl_->parts[i];
    const tensor::ParameterArena& arena = arenas()[part.arena];
    const tensor::ArenaSegment& segment = arena.segments()[part.segment];
    traits.set(groups[i].options(), hyper_parameters_of(segment.name));
    if (!part.is_whole(arenas()))
      impl_->values[i].mutable_grad() =
          segment.requires_grad ? in_arena(part, arenas(), arena.gradients()) : at::Tensor();
  }
  if (traits.set_steps)
    for (auto& entry : impl_->optimizer->state()) traits.set_steps(*entry.second, step - 1);
  impl_->optimizer->step();
}

}  // namespace bunchtrain::optim
