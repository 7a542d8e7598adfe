// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Inputs of a matrix product in the storage of an operand, and its result in float64 with the error allowed.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "cuda_on_host/device/tiled_gemm.hpp"

namespace bunchtrain::test {

/// The nearest number of 11 significant bits, ties away from zero: what to_tf32 promises.
inline double rounded_to_tf32(double value) {
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::round(std::ldexp(fraction, 11)), exponent - 11);
}

/// Storage of an operand, and what is in it.
class Matrix {
 public:
  Matrix(GemmOperand operand, std::int64_t rows, std::int64_t columns, std::uint64_t stream)
      : columns_(columns), values_(static_cast<std::size_t>(rows * columns)) {
    const std::size_t size = operand == GemmOperand::tf32 ? 4 : 2;
    bytes_.resize(values_.size() * size);
    const CounterRandom random(3, stream);
    for (std::size_t i = 0; i < values_.size(); ++i)
      values_[i] = put(operand, static_cast<float>(random.normal(i)), bytes_.data() + i * size);
  }
  double operator()(std::int64_t row, std::int64_t column) const {
    return values_[static_cast<std::size_t>(row * columns_ + column)];
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  /// Writes a number and returns what a tensor core gets.
  static double put(GemmOperand operand, float value, std::byte* out) {
    if (operand == GemmOperand::tf32) {
      std::memcpy(out, &value, sizeof value);
      return rounded_to_tf32(static_cast<double>(value));
    }
    if (operand == GemmOperand::bfloat16) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(value) & 0xFFFF0000u;
      const auto upper = static_cast<std::uint16_t>(bits >> 16);
      std::memcpy(out, &upper, sizeof upper);
      return static_cast<double>(std::bit_cast<float>(bits));
    }
    const auto narrow = static_cast<_Float16>(value);
    std::memcpy(out, &narrow, sizeof narrow);
    return static_cast<double>(narrow);
  }

  std::int64_t columns_;
  std::vector<double> values_;
  std::vector<std::byte> bytes_;
};

struct GemmProblem {
  GemmProblem(GemmOperand operand, const GemmSizes& s)
      : sizes(s),
        is_tf32(operand == GemmOperand::tf32),
        a(operand, s.m, s.k, 1),
        b(operand, is_tf32 ? s.n : s.k, is_tf32 ? s.k : s.n, 2) {}

  /// The largest error of `c` [m, n] in units of what truncated float32 sums, 8 terms a time, may lose.
  double error_of(const float* c) const {
    double worst = 0;
    for (std::int64_t row = 0; row < sizes.m; ++row)
      for (std::int64_t column = 0; column < sizes.n; ++column) {
        double sum = 0, absolute = 0;
        for (std::int64_t k = 0; k < sizes.k; ++k) {
          const double term = a(row, k) * (is_tf32 ? b(column, k) : b(k, column));
          sum += term;
          absolute += std::abs(term);
        }
        const double found = static_cast<double>(c[row * sizes.n + column]);
        const double allowed = 0x1p-23 * absolute * static_cast<double>(sizes.k / 8 + 1);
        const double error = std::abs(found - sum) / allowed;
        if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
      }
    return worst;
  }

  GemmSizes sizes;
  bool is_tf32;
  Matrix a, b;
};

constexpr GemmOperand kGemmOperands[] = {GemmOperand::bfloat16, GemmOperand::float16, GemmOperand::tf32};
constexpr GemmSizes kGemmSizes[] = {{16, 8, 16}, {32, 32, 64}, {33, 40, 136}, {70, 72, 8}, {64, 16, 320}};

}  // namespace bunchtrain::test
