// SPDX-License-Identifier: Apache-2.0
#include "pipeline_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_partition.hpp"
#include "unit_costs.hpp"

namespace bunchtrain::parallel {
namespace {

PipelineShape shape_of(int ranks, const PipelineOptions& options) {
  const bool interleaved = options.kind == PipelineKind::interleaved;
  int stages_per_rank = options.stages_per_rank;
  if (stages_per_rank == 0)
    stages_per_rank = interleaved || options.kind == PipelineKind::zero_bubble_v ? 2 : 1;
  return {.ranks = ranks,
          .microbatches = options.microbatches > 0 ? options.microbatches : 2 * ranks,
          .stages_per_rank = stages_per_rank};
}

/// All ranks cut alike: what the first one measured counts.
void agree_on_costs(const comm::Communicator& world, PartitionProblem& problem) {
  std::vector<double> numbers;
  for (const PipelineUnit& unit : problem.units)
    numbers.insert(numbers.end(), {unit.costs.forward, unit.costs.input_gradient, unit.costs.weight_gradient,
                                   unit.costs.activation_bytes, unit.parameter_bytes, unit.output_bytes});
  std::string bytes(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double));
  bytes = world.control().broadcast(std::move(bytes));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  auto number = numbers.begin();
  for (PipelineUnit& unit : problem.units) {
    unit.costs = {.forward = number[0],
                  .input_gradient = number[1],
                  .weight_gradient = number[2],
                  .activation_bytes = number[3]};
    unit.parameter_bytes = number[4];
    unit.output_bytes = number[5];
    number += 6;
  }
}

NamedTensors on_device(const NamedTensors& tensors, c10::Device device) {
  NamedTensors moved;
  for (const auto& [name, tensor] : tensors) moved.set(name, tensor.to(device));
  return moved;
}

void require_begins(const std::vector<int>& begins, int stages, int units) {
  const bool fits = static_cast<int>(begins.size()) == stages + 1 && begins.front() == 0 &&
                    begins.back() == units &&
                    std::ranges::adjacent_find(begins, std::greater_equal<>()) == begins.end();
  if (!fits)
    throw ConfigError(fmt::format(
        "PipelineOptions::begins must be {} ascending numbers from 0 to {}: the first unit of each of {} stages, and the "
        "number of units",
        stages + 1, units, stages));
}

/// A schedule of the user's own. Playing it finds ranks that wait for each other for ever.
PipelineSchedule checked(PipelineSchedule schedule, int ranks) {
  schedule.validate();
  if (static_cast<int>(schedule.ranks.size()) != ranks)
    throw ConfigError(fmt::format("the schedule '{}' is for {} ranks, and the pipeline axis has {}",
                                  schedule.name, schedule.ranks.size(), ranks));
  (void)simulate(schedule);
  return schedule;
}

}  // namespace

PipelinePlan create_plan(std::span<const nn::Unit> units, const comm::Communicator& world, int ranks,
                         c10::Device device, const PipelineOptions& options) {
  const PipelineShape shape = shape_of(ranks, options);
  const int count = static_cast<int>(units.size());
  const int stages = options.schedule ? options.schedule->stages : shape.ranks * shape.stages_per_rank;
  if (stages > count)
    throw ConfigError(
        fmt::format("the network has {} units, too few for {} stages: take fewer ranks along the pipeline "
                    "axis, or cut the network into more units",
                    count, stages));
  if (options.schedule && options.begins.empty()) {
    std::vector<int> even(static_cast<std::size_t>(stages) + 1);
    for (int stage = 0; stage <= stages; ++stage) even[stage] = count * stage / stages;
    return {.begins = std::move(even), .schedule = checked(*options.schedule, ranks)};
  }
  if (!options.begins.empty()) {
    require_begins(options.begins, stages, count);
    return {.begins = options.begins,
            .schedule =
                options.schedule ? checked(*options.schedule, ranks) : make_schedule(options.kind, shape)};
  }
  PartitionProblem problem{.kind = options.kind, .shape = shape};
  describe_units(units, problem);
  if (!options.example.empty()) {
    if (world.rank() == 0) measure_units(units, on_device(options.example, device), problem);
    agree_on_costs(world, problem);
  }
  PipelinePartition found = partition(problem);
  return {.begins = std::move(found.begins), .schedule = make_schedule(options.kind, shape, found.costs)};
}

std::string describe(const PipelinePlan& plan, std::span<const nn::Unit> units) {
  const int stages = plan.schedule.stages;
  std::string text = fmt::format("{} of {} stages on {} ranks, {} microbatches", plan.schedule.name, stages,
                                 plan.schedule.ranks.size(), plan.schedule.microbatches);
  for (int stage = 0; stage < stages; ++stage) {
    text += fmt::format("; stage {} on rank {}: ", stage, plan.schedule.rank_of(stage));
    for (int i = plan.begins[stage]; i < plan.begins[stage + 1]; ++i)
      text += (i > plan.begins[stage] ? ", " : "") + units[i].name;
  }
  return text;
}

}  // namespace bunchtrain::parallel
