// SPDX-License-Identifier: Apache-2.0
#include "run_state.hpp"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <cmath>
#include <set>
#include <sstream>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::train {
namespace {

StateDict counters(const RunState& state) {
  StateDict values;
  values.set("step", state.step);
  values.set("epoch", state.epoch);
  values.set("loss_sum", state.loss_sum);
  values.set("samples", state.loss_count);
  values.set("epoch_steps", state.epoch_steps);
  values.set("epoch_trained", state.epoch_trained ? 1 : 0);
  values.set("unplanned_steps", state.unplanned_steps);
  values.set("bad_samples", state.bad_samples);
  values.set("left_out", state.left_out);
  values.set("left_out_in_row", state.left_out_in_row);
  values.tensors.set("term_sums", at::tensor(state.term_sums, at::kDouble));
  values.set("term_names", fmt::format("{}", fmt::join(state.term_names, "\n")));
  return values;
}

/// What belongs to one rank: its time and its share of the statistics.
StateDict rank_counters(const RunState& state) {
  StateDict values;
  values.set("unsynchronized_samples", state.unsynchronized_samples);
  return values;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

bool is_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.numel() == 0) return true;
  const auto [least, greatest] = at::aminmax(tensor);  // NaN wins
  return std::isfinite(least.item<double>()) && std::isfinite(greatest.item<double>());
}

/// What a rank has beside its part of a network, which together with those of others is the whole ("exp_avg.PARAMETER"): written
/// by the first of its replicas.
StateDict of_parts(StateDict state, parallel::Engine& engine) {
  if (engine.is_whole()) return state;
  std::set<std::string, std::less<>> parameters;
  for (const auto& arena : engine.arenas())
    for (const auto& segment : arena.segments()) parameters.insert(segment.name);
  StateDict parts = state;
  parts.tensors = {};
  for (const auto& [name, tensor] : state.tensors) {
    const bool of_part = parameters.contains(name.substr(name.find('.') + 1)) && !state.slices.contains(name);
    if (of_part && engine.replicas().rank() > 0) continue;
    parts.tensors.set(name, tensor);
    if (of_part) parts.slices.emplace(name, tensor::Slice::whole(tensor.sizes()));
  }
  return parts;
}

/// Not if this rank had other stages of the network when the snapshot was written.
bool has_floating_buffers(const NamedTensors& saved, const torch::nn::Module& module) {
  for (const auto& buffer : module.named_buffers())
    if (buffer.value().is_floating_point() && !saved.contains(buffer.key())) return false;
  return true;
}

const StateDict& part_of(const checkpoint::Snapshot& snapshot, const std::string& name) {
  const auto found = snapshot.components.find(name);
  if (found == snapshot.components.end())
    throw CheckpointError("the snapshot " + snapshot.info.folder.string() + " has no '" + name +
                          "': it belongs to another kind of run");
  return found->second;
}

std::int64_t integer_or_zero(const StateDict& state, std::string_view name) {
  return state.values.contains(name) ? state.integer(name) : 0;
}

/// Where a loader of another order takes a run up: at the beginning of the pass that it was in, or of the
/// next one if that pass was over.
StateDict begin_of_pass(const data::DataLoader& loader, const StateDict& saved) {
  const bool over = saved.integer("step") * saved.integer("batch") >= saved.integer("samples");
  StateDict state = loader.state();
  state.set("epoch", saved.integer("epoch") + (over ? 1 : 0));
  state.set("step", std::int64_t{0});
  return state;
}

StateDict loader_state(const data::DataLoader& loader, const StateDict& saved, SampleOrder order) {
  if (order == SampleOrder::other) return begin_of_pass(loader, saved);
  StateDict state = saved;
  if (order == SampleOrder::same_if_data) state.set("fingerprint", loader.state().text("fingerprint"));
  return state;
}

/// Weights of another precision would fail later, with a riddle about some tensor.
void require_same_precision(const torch::nn::Module& module, const NamedTensors& saved,
                            const checkpoint::SnapshotInfo& info) {
  for (const auto& parameter : module.named_parameters()) {
    const at::Tensor* tensor = saved.find(parameter.key());
    if (!tensor || tensor->scalar_type() == parameter.value().scalar_type()) continue;
    const bool was_double = tensor->scalar_type() == at::kDouble;
    throw CheckpointError(fmt::format(
        "the snapshot {} was trained in {}, this run would train in {}: resume it with {}",
        info.folder.string(), was_double ? "float64" : "float32", was_double ? "float32" : "float64",
        setting("precision", was_double ? "float64" : "float32")));
  }
}

}  // namespace

std::string find_not_finite(const CapturedState& state) {
  constexpr std::string_view kModel = "model";
  for (const auto& [component, values] : state.replicated) {
    if (!component.ends_with(kModel)) continue;
    for (const auto& [name, tensor] : values.tensors)
      if (!is_finite(tensor)) return fmt::format("{}: {}", component, name);
  }
  return {};
}

void RunState::start_next_epoch() {
  ++epoch;
  start_epoch_anew();
}

void RunState::start_epoch_anew() {
  loss_sum = loss_count = seconds = timed_samples = 0;
  term_sums.clear();
  term_names.clear();
  epoch_steps = timed_steps = bad_samples = 0;
  epoch_trained = false;
  split = {};
}

SavedPlan saved_plan(const checkpoint::Snapshot& snapshot) {
  const StateDict& values = part_of(snapshot, "trainer");
  SavedPlan plan{.steps_per_epoch = integer_or_zero(values, "steps_per_epoch"),
                 .schedule_steps = integer_or_zero(values, "schedule_steps")};
  if (values.values.contains("settings")) plan.facts = parse_facts(values.text("settings"));
  return plan;
}

SampleOrder order_of(const checkpoint::Snapshot& snapshot, const data::DataLoader& loader) {
  const StateDict& saved = part_of(snapshot, "loader");
  const StateDict here = loader.state();
  for (const char* name : {"samples", "seed", "batch"})
    if (saved.text(name) != here.text(name)) return SampleOrder::other;
  if (saved.values.contains("length_buckets") && saved.text("length_buckets") != here.text("length_buckets"))
    return SampleOrder::other;
  if (saved.text("fingerprint") == here.text("fingerprint")) return SampleOrder::same;
  return saved_plan(snapshot).facts.empty() ? SampleOrder::same_if_data : SampleOrder::other;
}

std::string component_name(std::span<const TrainedNetwork> networks, const TrainedNetwork& network,
                           std::string_view part) {
  return networks.size() == 1 ? std::string(part) : network.name + "-" + std::string(part);
}

void add_averages(CapturedState& captured, const checkpoint::Components& averages,
                  std::span<const TrainedNetwork> networks, checkpoint::HostCopies& copies) {
  for (const auto& network : networks) {
    const auto found = averages.find(component_name(networks, network, "ema"));
    if (found != averages.end())
      captured.replicated[found->first] = copies.copy(of_parts(found->second, *network.engine));
  }
}

CapturedState capture(const RunState& state, std::span<const TrainedNetwork> networks,
                      const data::DataLoader& loader, const SavedPlan& plan, checkpoint::HostCopies& copies) {
  CapturedState captured;
  for (const auto& network : networks) {
    const parallel::NetworkState live = network.engine->state(state.unsynchronized_samples);
    captured.replicated[component_name(networks, network, "model")] = copies.copy(live.network);
    captured.of_rank[component_name(networks, network, "buffers")] = copies.copy(live.buffers_of_rank);
    captured.replicated[component_name(networks, network, "optimizer")] =
        copies.copy(of_parts(network.optimizer->state(), *network.engine));
  }
  captured.replicated["loader"] = loader.state();
  StateDict& trainer = captured.replicated["trainer"] = counters(state);
  trainer.set("settings", to_json(plan.facts));
  trainer.set("steps_per_epoch", plan.steps_per_epoch);
  trainer.set("schedule_steps", plan.schedule_steps);
  captured.of_rank["trainer"] = rank_counters(state);
  return captured;
}

RunState restore(const checkpoint::Snapshot& snapshot, std::span<const TrainedNetwork> networks,
                 data::DataLoader& loader, SampleOrder order) {
  const auto part = [&](const std::string& name) -> const StateDict& { return part_of(snapshot, name); };
  for (const auto& network : networks) {
    const NamedTensors& saved = part(component_name(networks, network, "model")).tensors;
    require_same_precision(network.engine->module(), saved, snapshot.info);
    const auto local = snapshot.rank_components.find(component_name(networks, network, "buffers"));
    const bool fits = local != snapshot.rank_components.end() &&
                      has_floating_buffers(local->second.tensors, network.engine->module());
    network.engine->load(saved, fits ? &local->second.tensors : nullptr, snapshot.info.folder.string());
    network.optimizer->load(part(component_name(networks, network, "optimizer")));
  }
  loader.load(loader_state(loader, part("loader"), order));
  const StateDict& values = part("trainer");
  RunState state;
  state.step = values.integer("step");
  state.epoch = values.integer("epoch");
  state.loss_sum = values.real("loss_sum");
  state.loss_count = values.real("samples");
  state.epoch_steps = values.integer("epoch_steps");
  state.epoch_trained = integer_or_zero(values, "epoch_trained") != 0;
  state.bad_samples = integer_or_zero(values, "bad_samples");
  state.unplanned_steps = integer_or_zero(values, "unplanned_steps");
  state.left_out = integer_or_zero(values, "left_out");
  state.left_out_in_row = integer_or_zero(values, "left_out_in_row");
  if (const at::Tensor* sums = values.tensors.find("term_sums"))
    state.term_sums.assign(sums->const_data_ptr<double>(), sums->const_data_ptr<double>() + sums->numel());
  if (const auto names = values.values.find("term_names"); names != values.values.end())
    state.term_names = split_lines(names->second);
  if (const auto own = snapshot.rank_components.find("trainer"); own != snapshot.rank_components.end())
    state.unsynchronized_samples = own->second.integer("unsynchronized_samples");
  return state;
}

}  // namespace bunchtrain::train
