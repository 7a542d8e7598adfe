// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/layout_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"

namespace bunchtrain::parallel {
namespace {

struct Candidate {
  PipelineKind kind;
  int stages_per_rank;
};
constexpr Candidate kCandidates[] = {{PipelineKind::gpipe, 1},
                                     {PipelineKind::one_f_one_b, 1},
                                     {PipelineKind::interleaved, 2},
                                     {PipelineKind::zero_bubble_h1, 1},
                                     {PipelineKind::zero_bubble_v, 2}};

/// The units for a microbatch of so many samples.
PartitionProblem problem_of(const LayoutQuestion& question, double samples) {
  PartitionProblem problem{.units = question.profile.units, .skips = question.profile.skips};
  for (PipelineUnit& unit : problem.units) {
    unit.costs.forward *= samples;
    unit.costs.input_gradient *= samples;
    unit.costs.weight_gradient *= samples;
    unit.costs.activation_bytes *= samples;
    unit.output_bytes *= samples;
    unit.transient_bytes *= samples;
    unit.revived_bytes *= samples;
    unit.parameter_bytes *= question.state_factor;
  }
  for (PipelineSkip& skip : problem.skips) skip.bytes *= samples;
  problem.memory_bytes = question.memory_bytes;
  problem.bandwidth = question.bandwidth;
  return problem;
}

double parameter_bytes(const UnitProfile& profile, int begin, int end) {
  double bytes = 0;
  for (int i = begin; i < end; ++i) bytes += profile.units[i].parameter_bytes;
  return bytes;
}

/// What a ring sends per rank to sum so many bytes.
double summed_bytes(double bytes, int replicas) { return 2 * bytes * (replicas - 1) / replicas; }

Layout replicas_only(const LayoutQuestion& question) {
  const double samples = static_cast<double>(question.batch) / question.ranks;
  const PartitionProblem problem = problem_of(question, samples);
  const int units = static_cast<int>(problem.units.size());
  Layout layout{.data = question.ranks, .begins = {0, units}};
  StageCosts whole{.forward = 0, .input_gradient = 0, .weight_gradient = 0, .activation_bytes = 0};
  for (const PipelineUnit& unit : problem.units) {
    whole.forward += unit.costs.forward;
    whole.input_gradient += unit.costs.input_gradient;
    whole.weight_gradient += unit.costs.weight_gradient;
    whole.activation_bytes += unit.costs.activation_bytes - unit.transient_bytes;
    layout.rank_bytes += unit.parameter_bytes;
  }
  layout.costs.stages = {whole};
  layout.rank_bytes += whole.activation_bytes;
  layout.compute_seconds = whole.forward + whole.backward();
  layout.sent_bytes = summed_bytes(parameter_bytes(question.profile, 0, units), question.ranks);
  layout.sum_seconds = layout.sent_bytes / question.bandwidth;
  layout.step_seconds = layout.compute_seconds + layout.sum_seconds;
  return layout;
}

/// Bytes of activations that cross the cut before a stage, skips included, for one microbatch.
double crossing_bytes(const PartitionProblem& problem, int begin) {
  double bytes = begin > 0 ? problem.units[begin - 1].output_bytes : 0;
  for (const PipelineSkip& skip : problem.skips)
    if (skip.from < begin && skip.to >= begin) bytes += skip.bytes;
  return bytes;
}

/// Nothing if its partition does not fit; then `needed` says by how much, if it is less than before.
std::optional<Layout> staged(const LayoutQuestion& question, Layout layout) {
  const double samples =
      static_cast<double>(question.batch) / (layout.data * static_cast<double>(layout.microbatches));
  PartitionProblem problem = problem_of(question, samples);
  problem.kind = layout.kind;
  problem.shape = {.ranks = layout.pipeline,
                   .microbatches = layout.microbatches,
                   .stages_per_rank = layout.stages_per_rank};
  PipelinePartition found;
  try {
    found = partition(problem);
  } catch (const ConfigError&) {
    return std::nullopt;  // too few units, or memory
  }
  const PipelineSchedule schedule = make_schedule(layout.kind, problem.shape, found.costs);
  const PipelineSimulation simulated = simulate(schedule, found.costs);
  std::vector<double> sent(static_cast<std::size_t>(layout.pipeline), 0), summed = sent;
  for (int stage = 0; stage < schedule.stages; ++stage) {
    const auto rank = static_cast<std::size_t>(schedule.rank_of(stage));
    const int begin = found.begins[stage], end = found.begins[stage + 1];
    summed[rank] += summed_bytes(parameter_bytes(question.profile, begin, end), layout.data);
    // What enters is sent by another rank, and its gradient by this one.
    sent[rank] += crossing_bytes(problem, begin) * layout.microbatches;
    if (end < static_cast<int>(problem.units.size()))
      sent[rank] += crossing_bytes(problem, end) * layout.microbatches;
  }
  for (std::size_t rank = 0; rank < sent.size(); ++rank) {
    layout.sent_bytes = std::max(layout.sent_bytes, sent[rank] + summed[rank]);
    layout.compute_seconds = std::max(layout.compute_seconds, simulated.ranks[rank].busy);
  }
  layout.begins = found.begins;
  layout.costs = found.costs;
  layout.rank_bytes = *std::ranges::max_element(found.rank_bytes);
  layout.sum_seconds = *std::ranges::max_element(summed) / question.bandwidth;
  layout.step_seconds = simulated.duration + layout.sum_seconds;
  return layout;
}

void add_staged(const LayoutQuestion& question, int data, int pipeline, std::vector<Layout>& layouts) {
  for (const Candidate& candidate : kCandidates)
    for (const int waves : {1, 2, 4, 8}) {
      Layout layout{.data = data,
                    .pipeline = pipeline,
                    .kind = candidate.kind,
                    .microbatches = waves * pipeline,
                    .stages_per_rank = candidate.stages_per_rank};
      if (layout.microbatches * static_cast<std::int64_t>(data) > question.batch) continue;
      if (auto found = staged(question, std::move(layout))) layouts.push_back(std::move(*found));
    }
}

/// Of any layout, were memory without end.
double least_needed(LayoutQuestion question) {
  question.memory_bytes = std::numeric_limits<double>::infinity();
  double least = question.memory_bytes;
  for (const Layout& layout : plan_layouts(question)) least = std::min(least, layout.rank_bytes);
  return least;
}

}  // namespace

void LayoutQuestion::validate() const {
  if (profile.units.empty()) throw ConfigError("profile", profile.model, "a network of units");
  if (ranks < 1) throw ConfigError("ranks", fmt::format("{}", ranks), "at least 1");
  if (batch < ranks)
    throw ConfigError("batch", fmt::format("{}", batch), fmt::format("a sample per rank, {}", ranks));
  if (!(memory_bytes > 0)) throw ConfigError("memory", fmt::format("{}", memory_bytes), "bytes above 0");
  if (!(bandwidth > 0))
    throw ConfigError("bandwidth", fmt::format("{}", bandwidth), "bytes per second above 0");
}

std::vector<Layout> plan_layouts(const LayoutQuestion& question) {
  question.validate();
  std::vector<Layout> layouts;
  if (Layout replicas = replicas_only(question); replicas.rank_bytes <= question.memory_bytes)
    layouts.push_back(std::move(replicas));
  for (int pipeline = 2; pipeline <= question.ranks; ++pipeline)
    if (question.ranks % pipeline == 0) add_staged(question, question.ranks / pipeline, pipeline, layouts);
  if (layouts.empty())
    throw ConfigError(
        "memory", fmt::format("{:.3g} GB", question.memory_bytes / 1e9),
        fmt::format("{:.3g} GB per rank, the least that a layout on {} ranks needs; or more ranks",
                    least_needed(question) / 1e9, question.ranks));
  std::ranges::stable_sort(layouts, {}, &Layout::step_seconds);
  return layouts;
}

std::string to_json(const UnitProfile& profile) {
  nlohmann::ordered_json json = {{"model", profile.model}, {"machine", profile.machine}};
  for (const PipelineUnit& unit : profile.units)
    json["units"].push_back({{"name", unit.name},
                             {"forward", unit.costs.forward},
                             {"input_gradient", unit.costs.input_gradient},
                             {"weight_gradient", unit.costs.weight_gradient},
                             {"activation_bytes", unit.costs.activation_bytes},
                             {"parameter_bytes", unit.parameter_bytes},
                             {"output_bytes", unit.output_bytes},
                             {"transient_bytes", unit.transient_bytes},
                             {"revived_bytes", unit.revived_bytes}});
  json["skips"] = nlohmann::ordered_json::array();
  for (const PipelineSkip& skip : profile.skips)
    json["skips"].push_back({{"from", skip.from}, {"to", skip.to}, {"bytes", skip.bytes}});
  return json.dump(2);
}

UnitProfile parse_unit_profile(const std::string& text, const std::string& origin) {
  try {
    const auto json = nlohmann::json::parse(text);
    UnitProfile profile{.model = json.at("model"), .machine = json.at("machine")};
    for (const auto& unit : json.at("units"))
      profile.units.push_back({.name = unit.at("name"),
                               .costs = {.forward = unit.at("forward"),
                                         .input_gradient = unit.at("input_gradient"),
                                         .weight_gradient = unit.at("weight_gradient"),
                                         .activation_bytes = unit.at("activation_bytes")},
                               .parameter_bytes = unit.at("parameter_bytes"),
                               .output_bytes = unit.at("output_bytes"),
                               .transient_bytes = unit.value("transient_bytes", 0.0),
                               .revived_bytes = unit.value("revived_bytes", 0.0)});
    for (const auto& skip : json.at("skips"))
      profile.skips.push_back({.from = skip.at("from"), .to = skip.at("to"), .bytes = skip.at("bytes")});
    return profile;
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError(fmt::format("{} is no profile of units (plan writes one): {}", origin, error.what()));
  }
}

}  // namespace bunchtrain::parallel
