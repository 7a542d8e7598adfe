// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "vector_math.hpp"

namespace bunchtrain::features::detail {

float* Workspace::particles(std::size_t index, std::size_t count) {
  if (index >= particles_.size()) particles_.resize(index + 1);
  const std::size_t padded = (count / kVectorPadding + 2) * kVectorPadding;
  if (particles_[index].size() < padded) particles_[index].resize(padded);
  return particles_[index].data();
}

double* Workspace::jets(std::size_t index, std::size_t count) {
  if (index >= jets_.size()) jets_.resize(index + 1);
  if (jets_[index].size() < count) jets_[index].resize(count);
  return jets_[index].data();
}

/// Translates nodes, arguments first, one register per node and level.
struct Program::Compiler {
  const ExpressionGraph& graph;
  std::span<const int> given;
  Program& program;
  int next_register = 0;
  std::map<int, int> registers[2] = {};  // node -> register: [0] as jet value, [1] as particle value

  std::map<int, int>& at_level(Level level) { return registers[level == Level::particle ? 1 : 0]; }

  int emit(Step step) {
    step.out = next_register++;
    program.steps_.push_back(step);
    return step.out;
  }

  /// The register that holds `node` at `level`, translating what is missing.
  int require(int node, Level level) {
    auto& known = at_level(level);
    if (const auto found = known.find(node); found != known.end()) return found->second;
    const int result = translate(node, level);
    at_level(level).emplace(node, result);
    return result;
  }

  int translate(int id, Level level) {
    const Node& node = graph.node(id);
    if (node.level == Level::constant) return emit({.kind = Kind::fill, .level = level, .value = node.value});
    if (node.level == Level::jet && level == Level::particle) {
      return emit({.kind = Kind::broadcast, .level = level, .a = require(id, Level::jet)});
    }
    if (const auto place = std::ranges::find(given, id); place != given.end()) {
      return emit({.kind = Kind::given, .level = level, .a = static_cast<int>(place - given.begin())});
    }
    if (node.op == Op::column) return load(node, level);
    if (node.op == Op::sum)
      return emit({.kind = Kind::sum, .level = level, .a = require(node.a, Level::particle)});
    const int a = require(node.a, level);
    const int b = node.b < 0 ? -1 : require(node.b, level);
    return emit({.kind = Kind::apply, .level = level, .op = node.op, .a = a, .b = b});
  }

  int load(const Node& node, Level level) {
    const auto column = static_cast<int>(program.columns_.size());
    program.columns_.push_back({node.level, node.column});
    program.column_registers_.push_back(emit({.kind = Kind::load, .level = level, .a = column}));
    return program.column_registers_.back();
  }
};

Program::Program(const ExpressionGraph& graph, std::span<const ProgramOutput> outputs,
                 std::span<const int> given) {
  Compiler compiler{graph, given, *this};
  for (const ProgramOutput& output : outputs) {
    expects(output.level != Level::jet || graph.node(output.node).level != Level::particle,
            "an output of one value per jet does not vary over particles");
    output_registers_.push_back(compiler.require(output.node, output.level));
  }
}

bool Program::reads_particles() const noexcept {
  return std::ranges::any_of(steps_, [](const Step& step) { return step.level == Level::particle; });
}

bool Program::available(const RawColumns& raw) const {
  return std::ranges::all_of(columns_, [&raw](const Column& column) {
    return column.level == Level::jet ? raw.jet.contains(column.name) : raw.particle.contains(column.name);
  });
}

BoundColumns Program::bind(const RawColumns& raw) const {
  BoundColumns bound;
  bind(raw, bound);
  return bound;
}

void Program::bind(const RawColumns& raw, BoundColumns& bound) const {
  bound.raw = &raw;
  bound.particle.clear();
  bound.jet.clear();
  const auto find = [&](const auto& map, const Column& column, std::size_t expected) {
    const auto found = map.find(column.name);
    if (found == map.end()) {
      std::vector<std::string> present;
      for (const auto& entry : map) present.push_back(entry.first);
      const std::string near = nearest(column.name, present);
      throw ConfigError(fmt::format("{}: there is no column {}.{}{}; present: {}", raw.file,
                                    column.level == Level::jet ? "jet" : "part", column.name,
                                    near.empty() ? "" : fmt::format(" (did you mean {}?)", near),
                                    fmt::join(present, ", ")));
    }
    if (found->second.size() != expected) {
      throw DataError(fmt::format("{}: column {} has {} values instead of {}", raw.file, column.name,
                                  found->second.size(), expected));
    }
    return found->second.data();
  };
  for (const Column& column : columns_) {
    const auto rows = static_cast<std::size_t>(raw.rows);
    if (column.level == Level::jet) {
      bound.jet.push_back(find(raw.jet, column, rows));
      bound.particle.push_back(nullptr);
    } else {
      bound.particle.push_back(find(raw.particle, column, static_cast<std::size_t>(raw.entries())));
      bound.jet.push_back(nullptr);
    }
  }
}

namespace {

/// Hands out registers, and takes them back from values that nobody reads any more.
class RegisterPool {
 public:
  explicit RegisterPool(std::size_t values) : place_(values, -1) {}

  std::uint8_t take(int value) {
    int place = 0;
    while (used_[static_cast<std::size_t>(place)])
      if (++place == InstructionList::kMostRegisters)
        throw ConfigError(
            fmt::format("the expressions need more than {} values at once: take some inputs away",
                        InstructionList::kMostRegisters));
    used_[static_cast<std::size_t>(place)] = true;
    most_ = std::max(most_, place + 1);
    place_[static_cast<std::size_t>(value)] = place;
    return static_cast<std::uint8_t>(place);
  }
  std::uint8_t of(int value) const {
    return static_cast<std::uint8_t>(place_[static_cast<std::size_t>(value)]);
  }
  void release(int value) { used_[of(value)] = false; }
  int most() const { return most_; }

 private:
  std::vector<int> place_;
  std::array<bool, InstructionList::kMostRegisters> used_{};
  int most_ = 0;
};

}  // namespace

InstructionList Program::instructions() const {
  const auto values = steps_.size();
  std::vector<std::size_t> last_use(values, 0);
  for (std::size_t i = 0; i < values; ++i)
    if (steps_[i].kind == Kind::apply)
      for (const int argument : {steps_[i].a, steps_[i].b})
        if (argument >= 0) last_use[static_cast<std::size_t>(argument)] = i;
  for (const int output : output_registers_) last_use[static_cast<std::size_t>(output)] = values;
  InstructionList list;
  RegisterPool pool(values);
  for (std::size_t i = 0; i < values; ++i) {
    const Step& step = steps_[i];
    if (step.level != Level::particle) {
      if (step.kind == Kind::given) continue;
      throw ConfigError("a program that computes values of jets cannot be run for one particle at a time");
    }
    Instruction instruction{.op = step.op, .value = static_cast<float>(step.value)};
    if (step.kind == Kind::apply) {
      const int b = step.b >= 0 ? step.b : step.a;
      instruction.kind = Instruction::Kind::apply;
      instruction.a = pool.of(step.a);
      instruction.b = pool.of(b);
      for (const int argument : {step.a, b})
        if (last_use[static_cast<std::size_t>(argument)] == i) pool.release(argument);
    } else if (step.kind == Kind::load) {
      instruction.kind = Instruction::Kind::column;
      instruction.source = step.a;
    } else if (step.kind == Kind::broadcast) {
      instruction.kind = Instruction::Kind::jet_value;
      instruction.source = steps_[static_cast<std::size_t>(step.a)].a;
    }
    instruction.out = pool.take(step.out);
    list.instructions.push_back(instruction);
  }
  for (const int output : output_registers_) list.outputs.push_back(pool.of(output));
  list.registers = pool.most();
  return list;
}

void Program::run(const BoundColumns& columns, std::span<const std::int64_t> rows, const PackedRows& packed,
                  std::span<const double* const> given, Workspace& workspace) const {
  for (const Step& step : steps_) {
    if (step.level == Level::particle)
      run_particle_step(step, columns, rows, packed, workspace);
    else
      run_jet_step(step, columns, rows, packed, given, workspace);
  }
}

namespace {

void gather_particles(const float* column, const RawColumns& raw, std::span<const std::int64_t> rows,
                      const PackedRows& packed, float* out) {
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const float* source = column + raw.begin_of(rows[row]);
    const std::span<const std::int32_t> chosen = packed.slots_of(row);
    float* target = out + packed.begin[row];
    // Usually the real particles are the leading slots: then they are one piece.
    const bool leading = chosen.empty() || (chosen.front() == 0 && chosen.back() + 1 == std::ssize(chosen));
    if (leading && std::ranges::is_sorted(chosen)) {
      std::copy_n(source, chosen.size(), target);
    } else {
      for (std::size_t i = 0; i < chosen.size(); ++i) target[i] = source[chosen[i]];
    }
  }
}

}  // namespace

void Program::run_particle_step(const Step& step, const BoundColumns& columns,
                                std::span<const std::int64_t> rows, const PackedRows& packed,
                                Workspace& workspace) const {
  const std::size_t count = packed.particles();
  float* out = workspace.particles(static_cast<std::size_t>(step.out), count);
  switch (step.kind) {
    case Kind::load:
      gather_particles(columns.particle[static_cast<std::size_t>(step.a)], *columns.raw, rows, packed, out);
      return;
    case Kind::fill:
      std::fill_n(out, count, static_cast<float>(step.value));
      return;
    case Kind::broadcast: {
      const double* values = workspace.jets(static_cast<std::size_t>(step.a), rows.size());
      for (std::size_t row = 0; row < rows.size(); ++row) {
        std::fill(out + packed.begin[row], out + packed.begin[row + 1], static_cast<float>(values[row]));
      }
      return;
    }
    default:
      break;
  }
  const float* a = workspace.particles(static_cast<std::size_t>(step.a), count);
  const float* b = step.b < 0 ? nullptr : workspace.particles(static_cast<std::size_t>(step.b), count);
  apply_vector(step.op, a, b, out, count);
}

void Program::run_jet_step(const Step& step, const BoundColumns& columns, std::span<const std::int64_t> rows,
                           const PackedRows& packed, std::span<const double* const> given,
                           Workspace& workspace) const {
  double* out = workspace.jets(static_cast<std::size_t>(step.out), rows.size());
  switch (step.kind) {
    case Kind::load: {
      const double* column = columns.jet[static_cast<std::size_t>(step.a)];
      for (std::size_t row = 0; row < rows.size(); ++row) out[row] = column[rows[row]];
      return;
    }
    case Kind::given:
      std::copy_n(given[static_cast<std::size_t>(step.a)], rows.size(), out);
      return;
    case Kind::fill:
      std::fill_n(out, rows.size(), step.value);
      return;
    case Kind::sum: {
      const float* values = workspace.particles(static_cast<std::size_t>(step.a), packed.particles());
      for (std::size_t row = 0; row < rows.size(); ++row) {
        out[row] = sum_vector(values + packed.begin[row], packed.slots_of(row).size());
      }
      return;
    }
    default:
      break;
  }
  const double* a = workspace.jets(static_cast<std::size_t>(step.a), rows.size());
  const double* b = step.b < 0 ? a : workspace.jets(static_cast<std::size_t>(step.b), rows.size());
  for (std::size_t row = 0; row < rows.size(); ++row) out[row] = apply_scalar(step.op, a[row], b[row]);
}

const float* Program::particle_output(std::size_t index, Workspace& workspace) const {
  return workspace.particles(static_cast<std::size_t>(output_registers_[index]), 0);
}

const double* Program::jet_output(std::size_t index, Workspace& workspace) const {
  return workspace.jets(static_cast<std::size_t>(output_registers_[index]), 0);
}

const float* Program::loaded_particles(std::size_t column, Workspace& workspace) const {
  return workspace.particles(static_cast<std::size_t>(column_registers_[column]), 0);
}

const double* Program::loaded_jets(std::size_t column, Workspace& workspace) const {
  return workspace.jets(static_cast<std::size_t>(column_registers_[column]), 0);
}

}  // namespace bunchtrain::features::detail
