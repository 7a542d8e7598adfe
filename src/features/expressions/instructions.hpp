// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A program as a list that can be run for one particle at a time, as kernels do.

#include <cstdint>
#include <vector>

#include "expression_graph.hpp"

namespace bunchtrain::features::detail {

/// Writes one of a particle's registers.
struct Instruction {
  enum class Kind : std::uint8_t {
    column,     ///< `source`-th particle column
    jet_value,  ///< `source`-th value of the particle's jet, rounded to float
    constant,   ///< `value`
    apply,      ///< `op` of registers a and b (b = a for operations of one argument)
  };
  Kind kind = Kind::constant;
  Op op = Op::constant;
  std::uint8_t out = 0, a = 0, b = 0;
  std::int32_t source = 0;
  float value = 0;
};

/// Registers are used again once nobody needs their value.
struct InstructionList {
  static constexpr int kMostRegisters = 64;
  std::vector<Instruction> instructions;
  std::vector<std::uint8_t> outputs;  ///< registers of the program's outputs at the end
  int registers = 0;
};

}  // namespace bunchtrain::features::detail
