// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernel that computes a card's inputs of particles, behind raw pointers of the device. Asynchronous on `stream`.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "expressions/instructions.hpp"
#include "expressions/vector_math.hpp"

namespace bunchtrain::features::detail {

/// All pointers are of the device.
struct ProgramArguments {
  const Instruction* instructions;  ///< [num_instructions]
  int num_instructions;
  const float* const* columns;      ///< of particles, [elements] each
  const double* const* jet_values;  ///< [rows] each
  const std::int64_t* row_splits;   ///< [rows + 1]: whose particles are whose
  std::int64_t rows, elements;
  const std::uint8_t* outputs;        ///< [num_outputs] registers
  const Standardisation* transforms;  ///< [num_outputs]
  int num_outputs;
  /// [num_outputs]: where the output of the first element goes, and how far those of others are apart.
  float* const* out;
  const std::int64_t* strides;
  /// 0: elements lie one behind another; else each row has so many places. @pre no row has more elements
  std::int64_t length;
  int* not_finite;  ///< [] set to 1 where an output is not finite; else left as it is
};

/// Each operation rounds once to float from double precision, so that it is within an ulp of the exact result (2 with
/// CUDA's own functions of double); clipping and comparisons have the bits of the CPU.
void launch_program(const ProgramArguments& arguments, cudaStream_t stream);

}  // namespace bunchtrain::features::detail
