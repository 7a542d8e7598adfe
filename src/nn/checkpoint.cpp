// SPDX-License-Identifier: Apache-2.0
// Invariant: what the second pass reads that is not an input or a parameter was taken before the first (`Surroundings`),
// and what it writes is undone (`KeptBuffers`, the guards' ends).
#include "bunchtrain/nn/checkpoint.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>

#include <array>
#include <mutex>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/detail/kept_buffers.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::nn {
namespace {

using torch::autograd::variable_list;

/// What autocast does for a kind of device.
struct Autocast {
  at::DeviceType device;
  bool enabled;
  at::ScalarType dtype;

  static Autocast of(at::DeviceType device) {
    return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
  }
  void apply() const {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, dtype);
  }
};

/// Autocast as it was. Weights are not cast once for all meanwhile: a pass without gradients would leave casts without
/// them to those who need them.
class AutocastScope {
 public:
  explicit AutocastScope(const std::array<Autocast, 2>& state) {
    for (const Autocast& one : state) one.apply();
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~AutocastScope() {
    for (const Autocast& one : before_) one.apply();
    at::autocast::set_autocast_cache_enabled(caches_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  std::array<Autocast, 2> before_ = {Autocast::of(at::kCPU), Autocast::of(at::kCUDA)};
  bool caches_ = at::autocast::is_autocast_cache_enabled();
};

/// The state of LibTorch's generators for the CPU and the devices of some tensors.
class GeneratorStates {
 public:
  static GeneratorStates of(const std::vector<at::Tensor>& tensors) {
    GeneratorStates states;
    states.add(at::detail::getDefaultCPUGenerator());
    for (const at::Tensor& tensor : tensors)
      if (tensor.defined() && tensor.is_cuda())
        states.add(at::globalContext().defaultGenerator(tensor.device()));
    return states;
  }
  GeneratorStates current() const {
    GeneratorStates states;
    for (const auto& [generator, state] : states_) states.add(generator);
    return states;
  }
  void apply() const {
    for (auto [generator, state] : states_) {
      const std::lock_guard lock(generator.mutex());
      generator.set_state(state);
    }
  }

 private:
  void add(at::Generator generator) {
    const std::lock_guard lock(generator.mutex());
    at::Tensor state = generator.get_state();
    states_.emplace_back(std::move(generator), std::move(state));
  }
  std::vector<std::pair<at::Generator, at::Tensor>> states_;
};

class GeneratorScope {
 public:
  explicit GeneratorScope(const GeneratorStates& states) : before_(states.current()) { states.apply(); }
  ~GeneratorScope() { before_.apply(); }
  GeneratorScope(const GeneratorScope&) = delete;
  GeneratorScope& operator=(const GeneratorScope&) = delete;

 private:
  GeneratorStates before_;
};

struct StepKey {
  std::uint64_t seed;
  std::int64_t step;
  at::Tensor sample_ids;
  at::Tensor step_in_memory = {};

  /// The step's, or one of the unit's own: other numbers at every call.
  static StepKey of(const std::vector<at::Tensor>& inputs) {
    if (const StepContext* context = StepContext::current())
      return {context->seed(), context->step(), context->sample_ids(), context->step_in_memory()};
    thread_local std::int64_t calls = 0;
    const std::int64_t rows = inputs.empty() || inputs.front().dim() == 0 ? 0 : inputs.front().size(0);
    return {0, calls++, at::arange(rows, at::TensorOptions().dtype(at::kLong))};
  }
};

/// What a pass sees beside its inputs.
struct Surroundings {
  explicit Surroundings(const std::vector<at::Tensor>& inputs)
      : generators(GeneratorStates::of(inputs)), step(StepKey::of(inputs)) {}

  std::array<Autocast, 2> autocast = {Autocast::of(at::kCPU), Autocast::of(at::kCUDA)};
  GeneratorStates generators;
  StepKey step;
};

/// A unit's pass, to be done twice.
struct Passes final : torch::CustomClassHolder {
  Passes(torch::nn::Module& module, UnitForward function, const std::vector<at::Tensor>& inputs)
      : unit(module), forward(std::move(function)), surroundings(inputs) {}

  std::vector<at::Tensor> first(const std::vector<at::Tensor>& inputs) const {
    const StepContext context(surroundings.step.seed, surroundings.step.step, surroundings.step.sample_ids,
                              surroundings.step.step_in_memory);
    const AutocastScope autocast(surroundings.autocast);
    return forward(inputs);
  }
  std::vector<at::Tensor> again(const std::vector<at::Tensor>& inputs) const {
    const KeptBuffers buffers(unit);
    const GeneratorScope generators(surroundings.generators);
    return first(inputs);
  }

  torch::nn::Module& unit;
  UnitForward forward;
  Surroundings surroundings;
};

/// Outputs that gradients come for, and the gradients.
struct Roots {
  variable_list outputs, gradients;
};

Roots roots_of(const std::vector<at::Tensor>& outputs, const variable_list& gradients) {
  if (outputs.size() != gradients.size())
    throw ConfigError(fmt::format(
        "a checkpointed unit gave {} outputs in backward and {} before: what it computes must not "
        "change between the passes",
        outputs.size(), gradients.size()));
  Roots roots;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
    if (!outputs[i].sizes().equals(gradients[i].sizes()))
      throw ConfigError(
          fmt::format("output {} of a checkpointed unit has another shape in backward than before: what it "
                      "computes must not change between the passes",
                      i));
    roots.outputs.push_back(outputs[i]);
    roots.gradients.push_back(gradients[i]);
  }
  return roots;
}

/// Takes the unit's parameters as inputs, too: their gradients leave backward as those of any operation, so that hooks
/// see each once, also where no input needs a gradient.
class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* context,
                               const c10::intrusive_ptr<Passes>& passes, std::int64_t inputs,
                               at::TensorList tensors) {
    context->save_for_backward(tensors.vec());
    context->saved_data["passes"] = c10::IValue::make_capsule(passes);
    context->saved_data["inputs"] = inputs;
    return passes->first({tensors.begin(), tensors.begin() + inputs});
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& gradients) {
    const auto passes = c10::static_intrusive_pointer_cast<Passes>(context->saved_data["passes"].toCapsule());
    const auto inputs = static_cast<std::size_t>(context->saved_data["inputs"].toInt());
    variable_list leaves = context->get_saved_variables();
    for (std::size_t i = 0; i < inputs; ++i)
      leaves[i] = leaves[i].detach().set_requires_grad(leaves[i].requires_grad());
    const at::AutoGradMode with_gradients(true);
    const auto outputs =
        passes->again({leaves.begin(), leaves.begin() + static_cast<std::ptrdiff_t>(inputs)});
    return gradients_of(leaves, roots_of(outputs, gradients));
  }

 private:
  /// One for each argument of `forward`.
  static variable_list gradients_of(const variable_list& leaves, const Roots& roots) {
    variable_list needed, all(2 + leaves.size());
    for (const at::Tensor& leaf : leaves)
      if (leaf.requires_grad()) needed.push_back(leaf);
    if (needed.empty() || roots.outputs.empty()) return all;
    auto found = torch::autograd::grad(roots.outputs, needed, roots.gradients, /*retain_graph=*/std::nullopt,
                                       /*create_graph=*/false, /*allow_unused=*/true);
    for (std::size_t i = 0, next = 0; i < leaves.size(); ++i)
      if (leaves[i].requires_grad()) all[2 + i] = std::move(found[next++]);
    return all;
  }
};

}  // namespace

std::vector<at::Tensor> checkpoint(torch::nn::Module& unit, UnitForward forward,
                                   std::vector<at::Tensor> inputs) {
  if (!at::GradMode::is_enabled()) return forward(inputs);
  auto passes = c10::make_intrusive<Passes>(unit, std::move(forward), inputs);
  const auto count = static_cast<std::int64_t>(inputs.size());
  for (at::Tensor& parameter : unit.parameters()) inputs.push_back(std::move(parameter));
  return Checkpoint::apply(passes, count, at::TensorList(inputs));
}

at::Tensor checkpoint(torch::nn::Module& unit, std::function<at::Tensor(const at::Tensor&)> forward,
                      at::Tensor input) {
  const auto one = [forward = std::move(forward)](const std::vector<at::Tensor>& inputs) {
    return std::vector<at::Tensor>{forward(inputs.front())};
  };
  return checkpoint(unit, one, {std::move(input)}).front();
}

}  // namespace bunchtrain::nn
