// SPDX-License-Identifier: Apache-2.0
#include "compiled_card.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features::detail {
namespace {

/// Nodes of a card by their use.
struct CardNodes {
  std::vector<int> inputs, observers, targets;
  int mask = -1, sort_key = -1, select = -1, label = -1, split = -1, weight = -1;
};

int compile_one(CardExpressions& expressions, const std::string& text, std::string_view use, Level highest) {
  if (text.empty()) return -1;
  try {
    const int node = expressions.compile(text);
    if (expressions.graph().node(node).level > highest) {
      throw ConfigError(fmt::format("\"{}\" varies over particles, but one value per jet is needed", text));
    }
    return node;
  } catch (Error& error) {
    error.add_context(fmt::format("in {}", use));
    throw;
  }
}

/// All are compiled, so that a mistake is found before they are asked for.
std::vector<int> compile_targets(const Card& card, std::span<const std::string> wanted,
                                 CardExpressions& expressions) {
  std::map<std::string_view, int> known;
  for (const TargetSpec& target : card.targets)
    known[target.name] = compile_one(expressions, target.expression, "[targets] " + target.name, Level::jet);
  std::vector<int> nodes;
  for (const std::string& name : wanted) nodes.push_back(known.at(card.target(name).name));
  return nodes;
}

CardNodes compile_nodes(const Card& card, std::span<const std::string> targets,
                        CardExpressions& expressions) {
  CardNodes nodes;
  nodes.mask = compile_one(expressions, card.mask, "[particles] mask", Level::particle);
  for (const auto& [tensor, columns] : card.inputs) {
    for (const InputSpec& column : columns) {
      nodes.inputs.push_back(
          compile_one(expressions, column.expression, "[inputs] " + tensor, Level::particle));
    }
  }
  for (const std::string& observer : card.observers) {
    nodes.observers.push_back(compile_one(expressions, observer, "[output] observers", Level::jet));
  }
  if (card.sort_by_pt)
    nodes.sort_key = compile_one(expressions, "part.pt", "[particles] sort_by_pt", Level::particle);
  nodes.select = compile_one(expressions, card.select, "[select] jets", Level::jet);
  nodes.label = compile_one(expressions, card.label, "[label] of", Level::jet);
  nodes.split = compile_one(expressions, card.split_by, "[split] by", Level::jet);
  nodes.weight = compile_one(expressions, card.sample_weight, "[weights] sample", Level::jet);
  nodes.targets = compile_targets(card, targets, expressions);
  return nodes;
}

/// Jet-level nodes that the particle-level nodes under `outputs` take as arguments, without entering sums.
std::vector<int> jet_arguments(const ExpressionGraph& graph, const std::vector<int>& outputs) {
  std::set<int> seen, boundary;
  std::vector<int> open = outputs;
  while (!open.empty()) {
    const int id = open.back();
    open.pop_back();
    if (id < 0 || !seen.insert(id).second) continue;
    const Node& node = graph.node(id);
    if (node.level == Level::jet) boundary.insert(id);
    if (node.level != Level::particle) continue;
    open.push_back(node.a);
    open.push_back(node.b);
  }
  return {boundary.begin(), boundary.end()};
}

bool reads_particles(const ExpressionGraph& graph, const std::vector<int>& outputs) {
  return std::ranges::any_of(graph.columns_of(outputs),
                             [](const std::string& name) { return name.starts_with("part."); });
}

/// `nodes` without the absent ones, and the mask if any of them needs to know which particles are real.
std::vector<int> with_mask(const ExpressionGraph& graph, std::vector<int> nodes, int mask) {
  std::erase(nodes, -1);
  if (mask >= 0 && reads_particles(graph, nodes)) nodes.push_back(mask);
  return nodes;
}

/// What the tensors are made of: the inputs, and the key that orders their particles.
std::vector<int> users_of_inputs(const CardNodes& nodes) {
  std::vector<int> users = nodes.inputs;
  if (nodes.sort_key >= 0) users.push_back(nodes.sort_key);
  return users;
}

/// Particle columns of `used` that are not among `others`, without prefix; both are sorted.
std::vector<std::string> particles_outside(const std::vector<std::string>& used,
                                           const std::vector<std::string>& others) {
  constexpr std::string_view kPrefix = "part.";
  std::vector<std::string> names;
  for (const std::string& name : used)
    if (name.starts_with(kPrefix) && !std::ranges::binary_search(others, name))
      names.push_back(name.substr(kPrefix.size()));
  return names;
}

Program jet_program(const ExpressionGraph& graph, int node) {
  if (node < 0) return {};
  const ProgramOutput output{node, Level::jet};
  return Program(graph, std::span(&output, 1));
}

}  // namespace

CompiledCard::CompiledCard(const Card& card, std::span<const std::string> wanted) {
  CardExpressions expressions(card);
  const CardNodes nodes = compile_nodes(card, wanted, expressions);
  const ExpressionGraph& graph = expressions.graph();

  if (nodes.mask >= 0) {
    const ProgramOutput output{nodes.mask, Level::particle};
    mask = Program(graph, std::span(&output, 1));
    const auto used = graph.reachable({nodes.mask});
    for (int id = 0; id < graph.size(); ++id) {
      if (used[static_cast<std::size_t>(id)] && graph.node(id).op == Op::sum) {
        throw ConfigError(
            fmt::format("[particles] mask \"{}\" uses sum(), which itself needs the mask", card.mask));
      }
    }
  }
  const std::vector<int> given = jet_arguments(graph, nodes.inputs);
  std::vector<ProgramOutput> jet_outputs, input_outputs;
  for (const int id : given) jet_outputs.push_back({id, Level::jet});
  for (const int id : nodes.observers) jet_outputs.push_back({id, Level::jet});
  if (nodes.sort_key >= 0) jet_outputs.push_back({nodes.sort_key, Level::particle});
  for (const int id : nodes.inputs) input_outputs.push_back({id, Level::particle});
  jets = Program(graph, jet_outputs);
  inputs = Program(graph, input_outputs, given);
  num_given = given.size();
  num_observers = nodes.observers.size();

  select = jet_program(graph, nodes.select);
  label = jet_program(graph, nodes.label);
  split = jet_program(graph, nodes.split);
  weight = jet_program(graph, nodes.weight);
  for (const int node : nodes.targets) targets.push_back(jet_program(graph, node));
  has_mask = nodes.mask >= 0;
  has_select = nodes.select >= 0;
  has_label = nodes.label >= 0;
  has_split = nodes.split >= 0;
  has_weight = nodes.weight >= 0;

  std::vector<int> needed = nodes.inputs;
  needed.insert(needed.end(), nodes.observers.begin(), nodes.observers.end());
  needed.insert(needed.end(), {nodes.mask, nodes.sort_key, nodes.select});
  std::erase(needed, -1);
  const std::vector<std::string> always = graph.columns_of(needed);
  std::vector<int> of_jets = {nodes.label, nodes.split, nodes.weight};
  of_jets.insert(of_jets.end(), nodes.targets.begin(), nodes.targets.end());
  needed.insert(needed.end(), of_jets.begin(), of_jets.end());
  std::erase(needed, -1);
  required = graph.columns_of(needed);
  std::ranges::set_difference(required, always, std::back_inserter(optional));
  of_jets.push_back(nodes.select);
  selection = graph.columns_of(with_mask(graph, std::move(of_jets), nodes.mask));

  const std::vector<std::string> used = graph.columns_of(users_of_inputs(nodes));
  for (const Program::Column& column : jets.columns())
    jets_need.push_back(std::ranges::binary_search(used, column.full_name()));
  for (const Program::Column& column : inputs.columns())
    inputs_need.push_back(std::ranges::none_of(jets.columns(), [&](const Program::Column& loaded) {
      return loaded.level == column.level && loaded.name == column.name;
    }));
  if (has_mask) beside_mask = particles_outside(used, graph.columns_of({nodes.mask}));
}

std::size_t rows_per_group(std::int64_t slots) noexcept {
  constexpr std::int64_t kSlotsPerGroup = 2048;
  return static_cast<std::size_t>(
      std::clamp<std::int64_t>(kSlotsPerGroup / std::max<std::int64_t>(slots, 1), 1, 256));
}

ParticlePacker::ParticlePacker(const CompiledCard& compiled, const RawColumns& raw)
    : compiled_(compiled), slots_(raw.slots) {
  if (compiled.has_mask) mask_columns_ = compiled.mask.bind(raw);
}

void ParticlePacker::pack(std::span<const std::int64_t> rows, Workspace& workspace, PackedRows& real) {
  if (all_.rows() != rows.size()) {
    all_.clear();
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (std::int32_t slot = 0; slot < slots_; ++slot) all_.slot.push_back(slot);
      all_.end_row();
    }
  }
  if (!compiled_.has_mask) {
    real = all_;
    return;
  }
  compiled_.mask.run(mask_columns_, rows, all_, {}, workspace);
  const float* is_real = compiled_.mask.particle_output(0, workspace);
  real.clear();
  for (std::size_t row = 0; row < rows.size(); ++row, is_real += slots_) {
    for (std::int32_t slot = 0; slot < slots_; ++slot) {
      if (is_real[slot] < 0 || is_real[slot] > 0) real.slot.push_back(slot);  // NaN is not real
    }
    real.end_row();
  }
}

}  // namespace bunchtrain::features::detail
