// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Nodes of the expression graph compiled to a list of array operations, run over a few rows at a time.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/raw_columns.hpp"
#include "expression_graph.hpp"
#include "instructions.hpp"
#include "packed_rows.hpp"

namespace bunchtrain::features::detail {

/// A value that a program is asked for: particle outputs are float32, jet outputs float64. A jet value asked
/// for at particle level is repeated for each particle.
struct ProgramOutput {
  int node = -1;
  Level level = Level::particle;
};

/// Columns of a program found in one raw block, in the order of `Program::columns()`.
struct BoundColumns {
  std::vector<const float*> particle;  ///< nullptr where the column is a jet column
  std::vector<const double*> jet;
  const RawColumns* raw = nullptr;  ///< the block, which knows where rows begin
};

/// Arrays of one thread, reused from group to group. Grows, never shrinks.
class Workspace {
 public:
  float* particles(std::size_t index, std::size_t count);
  double* jets(std::size_t index, std::size_t count);

 private:
  std::vector<std::vector<float>> particles_;
  std::vector<std::vector<double>> jets_;
};

/// A compiled set of outputs. Immutable after construction; `run` is thread-safe with
/// one workspace per thread.
class Program {
 public:
  Program() = default;
  /// `given`: jet-level nodes whose values the caller brings along (results of an earlier program).
  Program(const ExpressionGraph& graph, std::span<const ProgramOutput> outputs,
          std::span<const int> given = {});

  struct Column {
    Level level;
    std::string name;  ///< without prefix

    std::string full_name() const { return (level == Level::jet ? "jet." : "part.") + name; }
  };
  const std::vector<Column>& columns() const noexcept { return columns_; }
  /// Whether particles must be packed for this program.
  bool reads_particles() const noexcept;
  /// Whether `raw` has all its columns.
  bool available(const RawColumns& raw) const;
  /// @throws ConfigError naming a column that `raw` lacks and those it has, DataError
  /// for one of a wrong length.
  BoundColumns bind(const RawColumns& raw) const;
  /// The same into memory that is used again.
  void bind(const RawColumns& raw, BoundColumns& bound) const;

  /// Runs over the rows `rows` of the block, whose particles are `packed`; `given` holds
  /// one array per given node.
  void run(const BoundColumns& columns, std::span<const std::int64_t> rows, const PackedRows& packed,
           std::span<const double* const> given, Workspace& workspace) const;

  /// The same for one particle at a time, with what `given` holds as values of its jet. @throws ConfigError for a program that
  /// computes values of jets, or needs too many registers
  InstructionList instructions() const;

  /// Results of the last run in `workspace`: [particles], or [rows] for jet outputs. Equal
  /// outputs share one array.
  const float* particle_output(std::size_t index, Workspace& workspace) const;
  const double* jet_output(std::size_t index, Workspace& workspace) const;
  /// A column as the last run read it: of the particles that were packed, or of the rows.
  const float* loaded_particles(std::size_t column, Workspace& workspace) const;
  const double* loaded_jets(std::size_t column, Workspace& workspace) const;

 private:
  enum class Kind : std::uint8_t { load, given, fill, broadcast, apply, sum };
  struct Step {
    Kind kind;
    Level level;  ///< of the result
    Op op = Op::constant;
    int out = -1;  ///< register
    int a = -1;    ///< register, column or given index
    int b = -1;
    double value = 0;  ///< of a fill
  };

  struct Compiler;
  void run_particle_step(const Step& step, const BoundColumns& columns, std::span<const std::int64_t> rows,
                         const PackedRows& packed, Workspace& workspace) const;
  void run_jet_step(const Step& step, const BoundColumns& columns, std::span<const std::int64_t> rows,
                    const PackedRows& packed, std::span<const double* const> given,
                    Workspace& workspace) const;

  std::vector<Step> steps_;
  std::vector<Column> columns_;
  std::vector<int> output_registers_, column_registers_;
};

}  // namespace bunchtrain::features::detail
