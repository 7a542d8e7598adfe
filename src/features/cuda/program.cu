// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/launch.cuh"
#include "program_launch.hpp"

namespace bunchtrain::features::detail {
namespace {

constexpr int kThreads = 128;
constexpr double kTurn = 6.28318530717958647693;

__device__ inline float truth(bool value) { return value ? 1.0F : 0.0F; }

/// Into (-pi, pi]: how many turns is found in float, as on the CPU.
__device__ inline float wrap(float x) {
  const double turns = rintf(x * (1.0F / static_cast<float>(kTurn)));
  return static_cast<float>(static_cast<double>(x) - turns * kTurn);
}

__device__ float apply_one(Op op, float a) {
  const double x = a;
  switch (op) {
    case Op::negate:
      return -a;
    case Op::logical_not:
      return truth(a == 0.0F);
    case Op::log:
      return static_cast<float>(log(x));
    case Op::exp:
      return static_cast<float>(exp(x));
    case Op::sqrt:
      return sqrtf(a);
    case Op::abs:
      return fabsf(a);
    case Op::sign:
      return isnan(a) ? a : (a < 0.0F ? -1.0F : 1.0F);
    case Op::tanh:
      return static_cast<float>(tanh(x));
    case Op::sinh:
      return static_cast<float>(sinh(x));
    case Op::cosh:
      return static_cast<float>(cosh(x));
    case Op::asinh:
      return static_cast<float>(asinh(x));
    case Op::sin:
      return static_cast<float>(sin(x));
    case Op::cos:
      return static_cast<float>(cos(x));
    default:
      return wrap(a);
  }
}

__device__ float apply_two(Op op, float a, float b) {
  switch (op) {
    case Op::add:
      return a + b;
    case Op::subtract:
      return a - b;
    case Op::multiply:
      return a * b;
    case Op::divide:
      return a / b;
    case Op::less:
      return truth(a < b);
    case Op::less_equal:
      return truth(a <= b);
    case Op::greater:
      return truth(a > b);
    case Op::greater_equal:
      return truth(a >= b);
    case Op::equal:
      return truth(a == b);
    case Op::not_equal:
      return truth(a != b);
    case Op::logical_and:
      return truth(a != 0.0F && b != 0.0F);
    case Op::logical_or:
      return truth(a != 0.0F || b != 0.0F);
    case Op::hypot:
      return static_cast<float>(hypot(static_cast<double>(a), static_cast<double>(b)));
    case Op::atan2:
      return static_cast<float>(atan2(static_cast<double>(a), static_cast<double>(b)));
    case Op::min:
      return b < a ? b : a;
    default:
      return a < b ? b : a;
  }
}

__device__ inline std::int64_t row_of(const std::int64_t* splits, std::int64_t rows, std::int64_t element) {
  std::int64_t low = 0, high = rows;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (splits[middle] <= element ? low : high) = middle;
  }
  return low;
}

// Expressions of a card as a register machine, then clip((x - subtract) * multiply, minimum, maximum).
//
//   tiling    a thread owns a particle and runs all instructions; threads of a warp run the same one at a time
//   shared    none; registers lie in local memory, 256 bytes of a thread
//   bound     HBM, the columns read and the features written; functions in double precision
__global__ void __launch_bounds__(kThreads) program_kernel(ProgramArguments a) {
  const std::int64_t element = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (element >= a.elements) return;
  float registers[InstructionList::kMostRegisters];
  const std::int64_t row = row_of(a.row_splits, a.rows, element);
  for (int i = 0; i < a.num_instructions; ++i) {
    const Instruction step = a.instructions[i];
    float value = step.value;
    if (step.kind == Instruction::Kind::column) value = a.columns[step.source][element];
    if (step.kind == Instruction::Kind::jet_value) value = static_cast<float>(a.jet_values[step.source][row]);
    if (step.kind == Instruction::Kind::apply)
      value = step.op >= Op::negate ? apply_one(step.op, registers[step.a])
                                    : apply_two(step.op, registers[step.a], registers[step.b]);
    registers[step.out] = value;
  }
  const std::int64_t place = a.length > 0 ? row * a.length + element - a.row_splits[row] : element;
  bool finite = true;
  for (int i = 0; i < a.num_outputs; ++i) {
    const Standardisation by = a.transforms[i];
    float x = (registers[a.outputs[i]] - by.subtract) * by.multiply;
    if (x < by.minimum) x = by.minimum;
    if (x > by.maximum) x = by.maximum;
    finite = finite && isfinite(x);
    a.out[i][place * a.strides[i]] = x;
  }
  if (!finite) atomicOr(a.not_finite, 1);
}

}  // namespace

void launch_program(const ProgramArguments& arguments, cudaStream_t stream) {
  device::launch(
      program_kernel,
      {dim3(device::blocks_for(static_cast<std::size_t>(arguments.elements), kThreads)), dim3(kThreads)},
      stream, arguments);
}

}  // namespace bunchtrain::features::detail
