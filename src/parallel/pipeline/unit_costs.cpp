// SPDX-License-Identifier: Apache-2.0
#include "unit_costs.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

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
  Stage alone({unit});
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

UnitProfile profile_units(nn::UnitModel& network, const NamedTensors& example) {
  const std::vector<nn::Unit> units = network.units();
  nn::validate(units, network.input_names(), network.output_names());
  PartitionProblem problem;
  describe_units(units, problem);
  measure_units(units, example, problem);
  const auto samples = static_cast<double>(example.begin()->tensor.size(0));
  for (PipelineUnit& unit : problem.units) {
    unit.costs.forward /= samples;
    unit.costs.input_gradient /= samples;
    unit.costs.weight_gradient /= samples;
    unit.costs.activation_bytes /= samples;
    unit.output_bytes /= samples;
  }
  for (PipelineSkip& skip : problem.skips) skip.bytes /= samples;
  return {
      .model = network.description(), .units = std::move(problem.units), .skips = std::move(problem.skips)};
}

}  // namespace bunchtrain::parallel
