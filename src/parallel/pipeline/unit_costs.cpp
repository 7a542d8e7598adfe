// SPDX-License-Identifier: Apache-2.0
#include "unit_costs.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/Storage.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/nn/detail/kept_buffers.hpp"
#include "bunchtrain/parallel/unit_profile.hpp"
#include "held_bytes.hpp"
#include "stage.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr int kRepetitions = 4;

double bytes_of(const at::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

c10::Device device_of(const StageValues& values, const NamedTensors& inputs) {
  const NamedTensors& any = values.tensors.empty() ? inputs : values.tensors;
  return any.empty() ? c10::Device(c10::kCPU) : any.begin()->tensor.device();
}

void clear_gradients(const nn::Unit& unit) {
  if (unit.module == nullptr) return;
  for (at::Tensor& parameter : unit.module->parameters()) parameter.mutable_grad().reset();
}

/// One pass of a unit; `values` are those before it, and get what it writes.
StageCosts time_unit(const nn::Unit& unit, const NamedTensors& inputs, const StageValues& before,
                     StageValues& after) {
  const c10::Device device = device_of(before, inputs);
  Stage alone({unit}, /*splits_backward=*/true);
  after = {};
  const HeldBytes held;
  const device::Moment begin(device);
  after = alone.forward(0, inputs, before);
  const device::Moment forward(device);
  const auto activation_bytes = static_cast<double>(held.now());
  for (const std::string& name : unit.writes)
    if (after.differentiable.contains(name)) alone.add_gradient(0, name, at::ones_like(after.tensors[name]));
  const device::Moment ready(device);
  alone.input_gradient(0);
  const device::Moment inputs_done(device);
  alone.weight_gradient(0);
  const device::Moment weights_done(device);
  return {.forward = forward.seconds_since(begin),
          .input_gradient = inputs_done.seconds_since(ready),
          .weight_gradient = weights_done.seconds_since(inputs_done),
          .activation_bytes = activation_bytes};
}

}  // namespace

void describe_units(std::span<const nn::Unit> units, PartitionProblem& problem) {
  std::map<std::string, int> writers;
  for (int i = 0; i < static_cast<int>(units.size()); ++i) {
    problem.units.push_back({.name = units[i].name});
    for (const std::string& read : units[i].reads)
      if (const auto writer = writers.find(read); writer != writers.end() && writer->second != i - 1)
        problem.skips.push_back({.from = writer->second, .to = i});
    for (const std::string& written : units[i].writes) writers[written] = i;
  }
}

void measure_units(std::span<const nn::Unit> units, const NamedTensors& example, PartitionProblem& problem) {
  const at::AutoGradMode differentiate(true);
  StageValues values;
  std::map<std::string, double> bytes;  // of what units wrote
  for (std::size_t i = 0; i < units.size(); ++i) {
    const nn::Unit& unit = units[i];
    std::optional<nn::KeptBuffers> kept;
    if (unit.module != nullptr) kept.emplace(*unit.module);
    constexpr double kNever = std::numeric_limits<double>::infinity();
    StageCosts least{.forward = kNever, .input_gradient = kNever, .weight_gradient = kNever};
    StageValues after;
    for (int repetition = 0; repetition < kRepetitions; ++repetition) {
      const StageCosts now = time_unit(unit, example, values, after);
      if (repetition == 0) continue;
      least.activation_bytes = now.activation_bytes;
      least.forward = std::min(least.forward, now.forward);
      least.input_gradient = std::min(least.input_gradient, now.input_gradient);
      least.weight_gradient = std::min(least.weight_gradient, now.weight_gradient);
    }
    clear_gradients(unit);
    PipelineUnit& measured = problem.units[i];
    for (const std::string& name : unit.writes)
      measured.output_bytes += bytes[name] = bytes_of(after.tensors[name]);
    measured.costs = least;
    if (unit.module != nullptr)
      for (const at::Tensor& parameter : unit.module->parameters())
        measured.parameter_bytes += bytes_of(parameter);
    values = std::move(after);
  }
  for (PipelineSkip& skip : problem.skips)
    for (const std::string& name : units[skip.to].reads)
      if (std::ranges::find(units[skip.from].writes, name) != units[skip.from].writes.end())
        skip.bytes += bytes[name];
}

namespace {

/// Storages of tensors, without keeping them.
using WeakStorages = std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>>;

std::vector<bool> alive(const WeakStorages& storages) {
  std::vector<bool> are;
  for (const auto& storage : storages) are.push_back(!storage.expired());
  return are;
}

/// Of a unit's inputs and outputs, in their order, whether its graph keeps them; outputs with their bytes, none for views.
struct KeptByGraph {
  std::vector<bool> inputs, outputs;
  std::vector<double> output_bytes;
};

/// Adds copies of what the unit writes to `values`.
KeptByGraph kept_by_graph(const nn::Unit& unit, const NamedTensors& inputs, StageValues& values) {
  WeakStorages read, written;
  KeptByGraph kept;
  std::vector<std::shared_ptr<torch::autograd::Node>> graph;
  {
    NamedTensors local;
    for (const std::string& name : unit.reads) {
      const at::Tensor* const known = values.tensors.find(name);
      const at::Tensor leaf = (known != nullptr ? *known : inputs[name])
                                  .detach()
                                  .set_requires_grad(values.differentiable.contains(name));
      at::Tensor input = leaf.clone();  // a graph keeps its leaves in any case
      read.push_back(input.storage().getWeakStorageImpl());
      local.set(name, std::move(input));
    }
    nn::call(unit, local);
    for (const std::string& name : unit.writes) {
      const at::Tensor& output = local[name];
      graph.push_back(output.grad_fn());
      written.push_back(output.storage().getWeakStorageImpl());
      const bool is_view = std::ranges::any_of(unit.reads, [&](const std::string& input) {
        return output.storage().is_alias_of(local[input].storage());
      });
      kept.output_bytes.push_back(is_view ? 0 : bytes_of(output));
      values.tensors.set(name, output.detach().clone());
      if (output.requires_grad()) values.differentiable.insert(name);
    }
  }
  kept.inputs = alive(read);
  kept.outputs = alive(written);
  return kept;
}

}  // namespace

void find_transients(std::span<const nn::Unit> units, const NamedTensors& example,
                     std::span<const std::string> outputs, PartitionProblem& problem) {
  struct Written {
    std::size_t writer;
    double bytes;
    bool is_kept;
  };
  const at::AutoGradMode differentiate(true);
  std::map<std::string_view, Written> all;
  StageValues values;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const nn::Unit& unit = units[i];
    std::optional<nn::KeptBuffers> buffers;
    if (unit.module != nullptr) buffers.emplace(*unit.module);
    const KeptByGraph kept = kept_by_graph(unit, example, values);
    for (std::size_t j = 0; j < unit.reads.size(); ++j)
      if (const auto found = all.find(unit.reads[j]); found != all.end() && kept.inputs[j])
        found->second.is_kept = true;
    for (std::size_t j = 0; j < unit.writes.size(); ++j)
      all[unit.writes[j]] = {i, kept.output_bytes[j],
                             kept.outputs[j] || std::ranges::find(outputs, unit.writes[j]) != outputs.end()};
  }
  for (const auto& [name, written] : all)
    if (!written.is_kept) problem.units[written.writer].transient_bytes += written.bytes;
  for (std::size_t i = 0; i < units.size(); ++i)
    for (const std::string& read : units[i].reads)
      if (const auto found = all.find(read); found != all.end() && !found->second.is_kept)
        problem.units[i].revived_bytes += found->second.bytes;
}

UnitProfile profile_units(nn::UnitModel& network, const NamedTensors& example) {
  const std::vector<nn::Unit> units = network.units();
  nn::validate(units, network.input_names(), network.output_names());
  PartitionProblem problem;
  describe_units(units, problem);
  measure_units(units, example, problem);
  find_transients(units, example, network.output_names(), problem);
  const auto samples = static_cast<double>(example.begin()->tensor.size(0));
  for (PipelineUnit& unit : problem.units) {
    unit.costs.forward /= samples;
    unit.costs.input_gradient /= samples;
    unit.costs.weight_gradient /= samples;
    unit.costs.activation_bytes /= samples;
    unit.output_bytes /= samples;
    unit.transient_bytes /= samples;
    unit.revived_bytes /= samples;
  }
  for (PipelineSkip& skip : problem.skips) skip.bytes /= samples;
  return {
      .model = network.description(), .units = std::move(problem.units), .skips = std::move(problem.skips)};
}

}  // namespace bunchtrain::parallel
