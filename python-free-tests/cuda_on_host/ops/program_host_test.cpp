// SPDX-License-Identifier: Apache-2.0
// The kernel of a card's expressions, run on the host, against each operation in double precision and against the CPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "../../unit/features/raw_blocks.hpp"
#include "bunchtrain/core/error.hpp"
#include "cuda/program_launch.hpp"
#include "jets/compiled_card.hpp"
#include "runtime/guarded_buffer.hpp"

namespace bunchtrain::features::detail {
namespace {

using host_cuda::GuardedBuffer;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Numbers in order: neighbours differ by one.
std::int64_t order_of(float value) {
  const auto bits = std::bit_cast<std::int32_t>(value);
  return bits < 0 ? std::int64_t{std::numeric_limits<std::int32_t>::min()} - bits : bits;
}
bool within(float found, float expected, std::int64_t ulps) {
  if (std::isnan(expected)) return std::isnan(found);
  return std::abs(order_of(found) - order_of(expected)) <= ulps;
}

/// Columns of particles and values of jets as a program is given them.
struct Inputs {
  std::vector<std::vector<float>> columns;
  std::vector<std::vector<double>> jet_values;
  std::vector<std::int64_t> row_splits;
};

struct Outputs {
  std::vector<std::vector<float>> columns;
  bool not_finite = false;
};

Outputs run_kernel(const InstructionList& list, const Inputs& in,
                   const std::vector<Standardisation>& transforms) {
  std::vector<GuardedBuffer<float>> columns;
  std::vector<GuardedBuffer<double>> jets;
  std::vector<const float*> column_pointers;
  std::vector<const double*> jet_pointers;
  for (const auto& column : in.columns) columns.emplace_back(column);
  for (const auto& values : in.jet_values) jets.emplace_back(values);
  for (const auto& column : columns) column_pointers.push_back(column.data());
  for (const auto& values : jets) jet_pointers.push_back(values.data());
  const std::size_t elements = static_cast<std::size_t>(in.row_splits.back()), outputs = list.outputs.size();
  GuardedBuffer<float> out(elements * outputs);
  std::vector<float*> first;
  for (std::size_t i = 0; i < outputs; ++i) first.push_back(out.data() + i);
  const std::vector<std::int64_t> strides(outputs, static_cast<std::int64_t>(outputs));
  int not_finite = 0;
  launch_program({.instructions = list.instructions.data(),
                  .num_instructions = static_cast<int>(list.instructions.size()),
                  .columns = column_pointers.data(),
                  .jet_values = jet_pointers.data(),
                  .row_splits = in.row_splits.data(),
                  .rows = std::ssize(in.row_splits) - 1,
                  .elements = static_cast<std::int64_t>(elements),
                  .outputs = list.outputs.data(),
                  .transforms = transforms.data(),
                  .num_outputs = static_cast<int>(outputs),
                  .out = first.data(),
                  .strides = strides.data(),
                  .length = 0,
                  .not_finite = &not_finite},
                 nullptr);
  Outputs found{.columns = std::vector<std::vector<float>>(outputs), .not_finite = not_finite != 0};
  for (std::size_t i = 0; i < elements * outputs; ++i) found.columns[i % outputs].push_back(out.data()[i]);
  return found;
}

/// Each operation in double precision, rounded once.
std::vector<std::vector<float>> by_scalars(const InstructionList& list, const Inputs& in) {
  std::vector<std::vector<float>> outputs(list.outputs.size());
  for (std::size_t row = 0; row + 1 < in.row_splits.size(); ++row)
    for (std::int64_t i = in.row_splits[row]; i < in.row_splits[row + 1]; ++i) {
      float registers[InstructionList::kMostRegisters] = {};
      for (const Instruction& step : list.instructions) {
        const auto source = static_cast<std::size_t>(step.source);
        float value = step.value;
        if (step.kind == Instruction::Kind::column) value = in.columns[source][static_cast<std::size_t>(i)];
        if (step.kind == Instruction::Kind::jet_value) value = static_cast<float>(in.jet_values[source][row]);
        if (step.kind == Instruction::Kind::apply)
          value = static_cast<float>(apply_scalar(step.op, static_cast<double>(registers[step.a]),
                                                  static_cast<double>(registers[step.b])));
        registers[step.out] = value;
      }
      for (std::size_t k = 0; k < outputs.size(); ++k) outputs[k].push_back(registers[list.outputs[k]]);
    }
  return outputs;
}

const Standardisation kAsItIs{.minimum = -kInfinity, .maximum = kInfinity};

TEST(ProgramKernelTest, EveryOperationIsWithinTwoUlp) {
  Inputs in{.columns = {{}, {}}, .jet_values = {}, .row_splits = {0}};
  for (const float a : {-kInfinity, -1e30F, -400.0F, -3.2F, -1.0F, -1e-3F, -0.0F, 0.0F, 1e-30F, 0.4F, 1.0F,
                        2.5F, 88.0F, 1e6F, 3e38F, kInfinity, std::numeric_limits<float>::quiet_NaN()})
    for (const float b : {-kInfinity, -2.0F, -0.0F, 0.0F, 1e-20F, 0.7F, 3.0F, 1e20F, kInfinity,
                          std::numeric_limits<float>::quiet_NaN()}) {
      in.columns[0].push_back(a);
      in.columns[1].push_back(b);
    }
  in.row_splits.push_back(std::ssize(in.columns[0]));
  for (auto op = static_cast<int>(Op::add); op < static_cast<int>(Op::wrap); ++op) {
    ExpressionGraph graph;
    const int a = graph.column(Level::particle, "a"), b = graph.column(Level::particle, "b");
    const int node =
        num_arguments(static_cast<Op>(op)) == 2
            ? graph.apply(static_cast<Op>(op), graph.apply(Op::negate, graph.apply(Op::negate, a)), b)
            : graph.apply(static_cast<Op>(op), a);
    const ProgramOutput output{node, Level::particle};
    const Program program(graph, std::span(&output, 1));
    const InstructionList list = program.instructions();
    Inputs of_program{.columns = {}, .jet_values = {}, .row_splits = in.row_splits};
    for (const auto& column : program.columns())
      of_program.columns.push_back(in.columns[column.name == "a" ? 0 : 1]);
    const auto found = run_kernel(list, of_program, {kAsItIs});
    const auto expected = by_scalars(list, of_program);
    for (std::size_t i = 0; i < expected[0].size(); ++i)
      EXPECT_TRUE(within(found.columns[0][i], expected[0][i], 2))
          << "operation " << op << " of " << in.columns[0][i] << ", " << in.columns[1][i] << ": "
          << found.columns[0][i] << ", not " << expected[0][i];
  }
}

/// The inputs of a built-in card, with what the program of its jets gives.
TEST(ProgramKernelTest, FeaturesOfACardAreThoseOfTheCpu) {
  const Card card = load_card("top_tagging");
  const CompiledCard compiled(card);
  const RawColumns raw = features::test::make_top_tagging_block(61, 60);
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < raw.rows; ++row) rows.push_back(row);
  Workspace workspace;
  PackedRows packed;
  ParticlePacker packer(compiled, raw);
  packer.bind();
  packer.pack(rows, workspace, packed);
  Inputs in;
  in.row_splits.assign(packed.begin.begin(), packed.begin.end());
  compiled.jets.run(compiled.jets.bind(raw), rows, packed, {}, workspace);
  std::vector<const double*> given;
  for (std::size_t i = 0; i < compiled.num_given; ++i) {
    const double* values = compiled.jets.jet_output(i, workspace);
    in.jet_values.emplace_back(values, values + rows.size());
  }
  for (const auto& values : in.jet_values) given.push_back(values.data());
  compiled.inputs.run(compiled.inputs.bind(raw), rows, packed, given, workspace);
  for (std::size_t i = 0; i < compiled.inputs.columns().size(); ++i) {
    const float* values = compiled.inputs.loaded_particles(i, workspace);
    in.columns.emplace_back(values, values + packed.particles());
  }
  const InstructionList list = compiled.inputs.instructions();
  EXPECT_LE(list.registers, InstructionList::kMostRegisters);
  std::vector<Standardisation> transforms(list.outputs.size(), kAsItIs);
  const Outputs found = run_kernel(list, in, transforms);
  const auto expected = by_scalars(list, in);
  std::size_t compared = 0;
  for (std::size_t k = 0; k < list.outputs.size(); ++k) {
    const float* of_cpu = compiled.inputs.particle_output(k, workspace);
    for (std::size_t i = 0; i < packed.particles(); ++i, ++compared) {
      ASSERT_TRUE(within(found.columns[k][i], expected[k][i], 2)) << "input " << k << ", particle " << i;
      ASSERT_NEAR(found.columns[k][i], of_cpu[i], 2e-5 * (1 + std::abs(of_cpu[i]))) << "input " << k;
    }
  }
  EXPECT_GT(compared, 5000U);
  EXPECT_FALSE(found.not_finite);
}

TEST(ProgramKernelTest, ClipsAsTheCpuAndTellsOfWhatIsNotFinite) {
  ExpressionGraph graph;
  const ProgramOutput output{graph.apply(Op::log, graph.column(Level::particle, "a")), Level::particle};
  const InstructionList list = Program(graph, std::span(&output, 1)).instructions();
  const Inputs in{.columns = {{1.0F, 2.0F, 1000.0F, 1e-9F}}, .jet_values = {}, .row_splits = {0, 0, 3, 4}};
  const Standardisation by{.subtract = 0.5F, .multiply = 0.25F, .minimum = -1, .maximum = 1};
  const Outputs found = run_kernel(list, in, {by});
  std::vector<float> logs = by_scalars(list, in)[0], expected(64 + 4);
  logs.resize(64 + 4);
  standardise_vector(by, logs.data(), expected.data(), 4);
  expected.resize(4);
  EXPECT_EQ(found.columns[0], expected);
  EXPECT_FALSE(found.not_finite);
  EXPECT_TRUE(run_kernel(list, {.columns = {{1.0F, -1.0F}}, .jet_values = {}, .row_splits = {0, 2}}, {by})
                  .not_finite);
}

TEST(ProgramKernelTest, WhatCannotBeRunForOneParticleIsRefused) {
  ExpressionGraph graph;
  const int sum = graph.apply(Op::sum, graph.column(Level::particle, "a"));
  const ProgramOutput of_jet{sum, Level::jet};
  EXPECT_THROW(Program(graph, std::span(&of_jet, 1)).instructions(), ConfigError);
  std::vector<ProgramOutput> many;
  for (int i = 0; i <= InstructionList::kMostRegisters; ++i)
    many.push_back({graph.column(Level::particle, "x" + std::to_string(i)), Level::particle});
  EXPECT_THROW(Program(graph, many).instructions(), ConfigError);
  many.pop_back();
  EXPECT_EQ(Program(graph, many).instructions().registers, InstructionList::kMostRegisters);
}

}  // namespace
}  // namespace bunchtrain::features::detail
