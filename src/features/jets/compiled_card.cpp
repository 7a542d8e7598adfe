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

int compile_one(CardExpressions& expressions, const std::string& text, const std::string& use, Level highest,
                const CardWords& words) {
  if (text.empty()) return -1;
  try {
    const int node = expressions.compile(text);
    if (expressions.graph().node(node).level > highest) {
      throw ConfigError(fmt::format("\"{}\" varies over {}s, but one value per {} is needed", text,
                                    words.element, words.sample));
    }
    return node;
  } catch (Error& error) {
    error.add_context(fmt::format("in {}", use));
    throw;
  }
}

/// Of a label, a weight, a target.
Level level_of_numbers(const Card& card) {
  return card.kind == CardKind::hits ? Level::particle : Level::jet;
}

/// All are compiled, so that a mistake is found before they are asked for.
std::vector<int> compile_targets(const Card& card, std::span<const std::string> wanted,
                                 CardExpressions& expressions) {
  std::map<std::string_view, int> known;
  for (const TargetSpec& target : card.targets)
    known[target.name] = compile_one(expressions, target.expression, "[targets] " + target.name,
                                     level_of_numbers(card), words_of(card.kind));
  std::vector<int> nodes;
  for (const std::string& name : wanted) nodes.push_back(known.at(card.target(name).name));
  return nodes;
}

CardNodes compile_nodes(const Card& card, std::span<const std::string> targets,
                        CardExpressions& expressions) {
  const CardWords& words = words_of(card.kind);
  const auto compile = [&](const std::string& text, const std::string& use, Level highest) {
    return compile_one(expressions, text, use, highest, words);
  };
  CardNodes nodes;
  nodes.mask = compile(card.mask, fmt::format("[{}] mask", words.section), Level::particle);
  for (const auto& [tensor, columns] : card.inputs)
    for (const InputSpec& column : columns)
      nodes.inputs.push_back(compile(column.expression, "[inputs] " + tensor, Level::particle));
  for (const std::string& observer : card.observers)
    nodes.observers.push_back(compile(observer, "[output] observers", Level::jet));
  if (card.sort_by_pt) nodes.sort_key = compile("part.pt", "[particles] sort_by_pt", Level::particle);
  nodes.select = compile(card.select, fmt::format("[select] {}", words.selection), Level::jet);
  nodes.label = compile(card.label, "[label] of", level_of_numbers(card));
  nodes.split = compile(card.split_by, "[split] by", Level::jet);
  nodes.weight = compile(card.sample_weight, "[weights] sample", level_of_numbers(card));
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

/// The sums over particles under `outputs` that are not part of another one.
std::vector<int> outermost_sums(const ExpressionGraph& graph, std::vector<int> open) {
  std::set<int> seen, sums;
  while (!open.empty()) {
    const int id = open.back();
    open.pop_back();
    if (id < 0 || !seen.insert(id).second) continue;
    const Node& node = graph.node(id);
    if (node.op == Op::sum) {
      sums.insert(id);
      continue;
    }
    open.push_back(node.a);
    open.push_back(node.b);
  }
  return {sums.begin(), sums.end()};
}

/// Which columns of a program are among `used`, which is sorted.
std::vector<bool> columns_among(const Program& program, const std::vector<std::string>& used) {
  std::vector<bool> among;
  for (const Program::Column& column : program.columns())
    among.push_back(std::ranges::binary_search(used, column.full_name()));
  return among;
}

bool varies_over_elements(const ExpressionGraph& graph, int node) {
  return node >= 0 && graph.node(node).level == Level::particle;
}

/// A number of each jet, or of each hit where it varies over them.
Program number_program(const ExpressionGraph& graph, int node) {
  if (node < 0) return {};
  const ProgramOutput output{node, varies_over_elements(graph, node) ? Level::particle : Level::jet};
  return Program(graph, std::span(&output, 1));
}

/// What decides about rows and what their numbers are, each a program of its own.
void compile_numbers(CompiledCard& card, const ExpressionGraph& graph, const CardNodes& nodes) {
  card.select = number_program(graph, nodes.select);
  card.label = number_program(graph, nodes.label);
  card.split = number_program(graph, nodes.split);
  card.weight = number_program(graph, nodes.weight);
  card.label_of_elements = varies_over_elements(graph, nodes.label);
  card.weight_of_elements = varies_over_elements(graph, nodes.weight);
  for (const int node : nodes.targets) {
    card.targets.push_back(number_program(graph, node));
    card.target_of_elements.push_back(varies_over_elements(graph, node));
  }
  card.has_mask = nodes.mask >= 0;
  card.has_select = nodes.select >= 0;
  card.has_label = nodes.label >= 0;
  card.has_split = nodes.split >= 0;
  card.has_weight = nodes.weight >= 0;
}

void compile_halves(CompiledCard& card, const ExpressionGraph& graph,
                    std::span<const ProgramOutput> jet_outputs) {
  std::vector<int> nodes;
  for (const ProgramOutput& output : jet_outputs) nodes.push_back(output.node);
  const std::vector<int> sums = outermost_sums(graph, nodes);
  std::vector<ProgramOutput> summed;
  for (const int sum : sums) summed.push_back({graph.node(sum).a, Level::particle});
  card.sums = Program(graph, summed);
  card.num_sums = sums.size();
  card.jets_of_sums = Program(graph, jet_outputs, sums);
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
        throw ConfigError(fmt::format("[{}] mask \"{}\" uses sum(), which itself needs the mask",
                                      words_of(card.kind).section, card.mask));
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
  compile_halves(*this, graph, std::span(jet_outputs).first(given.size() + nodes.observers.size()));
  inputs = Program(graph, input_outputs, given);
  num_given = given.size();
  num_observers = nodes.observers.size();

  compile_numbers(*this, graph, nodes);

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
  // Ragged batches know beforehand how many elements they have: those that pass the mask.
  if (card.ragged) of_jets.push_back(nodes.mask);
  selection = graph.columns_of(with_mask(graph, std::move(of_jets), nodes.mask));

  const std::vector<std::string> used = graph.columns_of(users_of_inputs(nodes));
  jets_need = columns_among(jets, used);
  jets_of_sums_need = columns_among(jets_of_sums, used);
  for (const Program::Column& column : inputs.columns())
    inputs_need.push_back(std::ranges::none_of(jets.columns(), [&](const Program::Column& loaded) {
      return loaded.level == column.level && loaded.name == column.name;
    }));
  if (has_mask) beside_mask = particles_outside(used, graph.columns_of({nodes.mask}));
}

std::size_t rows_per_group(const RawColumns& raw) noexcept {
  constexpr std::int64_t kSlotsPerGroup = 2048;
  const std::int64_t slots = raw.entries() / std::max<std::int64_t>(raw.rows, 1);
  return static_cast<std::size_t>(
      std::clamp<std::int64_t>(kSlotsPerGroup / std::max<std::int64_t>(slots, 1), 1, 256));
}

ParticlePacker::ParticlePacker(const CompiledCard& compiled, const RawColumns& raw)
    : compiled_(compiled), raw_(raw) {}

void ParticlePacker::bind() {
  all_.clear();
  if (compiled_.has_mask) compiled_.mask.bind(raw_, mask_columns_);
}

void ParticlePacker::pack(std::span<const std::int64_t> rows, Workspace& workspace, PackedRows& real) {
  take_all(rows);
  if (!compiled_.has_mask) {
    real = all_;
    return;
  }
  compiled_.mask.run(mask_columns_, rows, all_, {}, workspace);
  const float* is_real = compiled_.mask.particle_output(0, workspace);
  real.clear();
  for (const std::int64_t row : rows) {
    const std::int64_t slots = raw_.slots_of(row);
    for (std::int32_t slot = 0; slot < slots; ++slot) {
      if (is_real[slot] < 0 || is_real[slot] > 0) real.slot.push_back(slot);  // NaN is not real
    }
    real.end_row();
    is_real += slots;
  }
}

/// Every slot of the rows: always the same where all rows have as many.
void ParticlePacker::take_all(std::span<const std::int64_t> rows) {
  const bool alike = raw_.row_splits.empty() && raw_.counts.empty();
  if (alike && all_.rows() == rows.size()) return;
  all_.clear();
  for (const std::int64_t row : rows) {
    const std::int64_t slots = raw_.slots_of(row);
    for (std::int32_t slot = 0; slot < slots; ++slot) all_.slot.push_back(slot);
    all_.end_row();
  }
}

}  // namespace bunchtrain::features::detail
