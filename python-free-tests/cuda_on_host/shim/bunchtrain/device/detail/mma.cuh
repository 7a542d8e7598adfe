// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stands in for the product's header of this name. What a lane brings is taken when it comes: data that
/// another lane stores without a barrier in between may be missed, as on hardware.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bunchtrain/device/detail/mma_fragments.cuh"

namespace bunchtrain::device {

namespace host {

using host_cuda::WarpOperation;
template <std::size_t N>
using OfLanes = std::array<std::array<unsigned, N>, 32>;

/// What every lane has in its registers.
template <std::size_t N>
OfLanes<N> gather(WarpOperation operation, const unsigned (&registers)[N], std::source_location where) {
  OfLanes<N> all;
  for (std::size_t i = 0; i < N; ++i) {
    const auto exchanged = host_cuda::exchange(operation, 0xFFFFFFFFu, registers[i], where);
    for (std::size_t lane = 0; lane < 32; ++lane)
      all[lane][i] = static_cast<unsigned>(exchanged.values[lane]);
  }
  return all;
}

inline double half_of(unsigned bits, std::size_t which) {
  return static_cast<double>(__half2float({static_cast<unsigned short>(bits >> 16 * which)}));
}
inline double bfloat16_of(unsigned bits, std::size_t which) {
  return static_cast<double>(__bfloat162float({static_cast<unsigned short>(bits >> 16 * which)}));
}
/// The low 13 bits are not looked at.
inline double tf32_of(unsigned bits) { return static_cast<double>(std::bit_cast<float>(bits & 0xFFFFE000u)); }

/// Tensor cores truncate.
inline float toward_zero(double value) {
  const auto nearest = static_cast<float>(value);
  return std::isfinite(nearest) && std::abs(static_cast<double>(nearest)) > std::abs(value)
             ? std::nextafterf(nearest, 0.0F)
             : nearest;
}

/// This lane's part of [16, K] [K, 8]; `a` and `b` give elements by row and column.
template <std::size_t K, class A, class B>
void add_product(FragmentC& c, A a, B b) {
  const std::size_t g = host_cuda::lane() / 4, t = host_cuda::lane() % 4;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t row = g + 8 * (i / 2), column = 2 * t + i % 2;
    double sum = static_cast<double>(c.values[i]);
    for (std::size_t k = 0; k < K; ++k) sum += a(row, k) * b(k, column);
    c.values[i] = toward_zero(sum);
  }
}

/// [16, 16] [16, 8] of 16-bit numbers that `widen(register, which half)` gives.
template <class Widen>
void mma_16_bit(FragmentC& c, const FragmentA& a, const FragmentB& b, Widen widen,
                std::source_location where) {
  const auto all_a = gather(WarpOperation::mma, a.registers, where);
  const auto all_b = gather(WarpOperation::mma, b.registers, where);
  add_product<16>(
      c,
      [&](std::size_t row, std::size_t k) {
        return widen(all_a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2);
      },
      [&](std::size_t k, std::size_t column) { return widen(all_b[column * 4 + k % 8 / 2][k / 8], k % 2); });
}

/// Row by row, what the lanes point at; rows of 8 numbers of 16 bits.
template <std::size_t kMatrices>
std::array<std::array<std::uint16_t, 8>, 8 * kMatrices> gather_rows(const void* row,
                                                                    std::source_location where) {
  unsigned own[4] = {};
  if (host_cuda::lane() < 8 * kMatrices) {
    host_cuda::require_shared(row, 16, where);
    std::memcpy(own, row, 16);
  }
  const OfLanes<4> all = gather(WarpOperation::ldmatrix, own, where);
  std::array<std::array<std::uint16_t, 8>, 8 * kMatrices> rows;
  for (std::size_t r = 0; r < rows.size(); ++r) std::memcpy(rows[r].data(), all[r].data(), 16);
  return rows;
}

}  // namespace host

template <class T>
void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b,
                  std::source_location where = std::source_location::current()) = delete;

template <>
inline void mma_m16n8k16<__nv_bfloat16>(FragmentC& c, const FragmentA& a, const FragmentB& b,
                                        std::source_location where) {
  host::mma_16_bit(c, a, b, host::bfloat16_of, where);
}

template <>
inline void mma_m16n8k16<__half>(FragmentC& c, const FragmentA& a, const FragmentB& b,
                                 std::source_location where) {
  host::mma_16_bit(c, a, b, host::half_of, where);
}

inline void mma_m16n8k8_tf32(FragmentC& c, const FragmentA& a, const FragmentB& b,
                             std::source_location where = std::source_location::current()) {
  const auto all_a = host::gather(host::WarpOperation::mma, a.registers, where);
  const auto all_b = host::gather(host::WarpOperation::mma, b.registers, where);
  host::add_product<8>(
      c,
      [&](std::size_t row, std::size_t k) {
        return host::tf32_of(all_a[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]);
      },
      [&](std::size_t k, std::size_t column) { return host::tf32_of(all_b[column * 4 + k % 4][k / 4]); });
}

inline unsigned to_tf32(float value) {
  if (std::isnan(value)) return 0x7FFFFFFFu;
  return (std::bit_cast<unsigned>(value) + 0x1000u) & 0xFFFFE000u;
}

template <int kMatrices>
void ldmatrix(unsigned (&registers)[kMatrices], const void* row,
              std::source_location where = std::source_location::current()) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  const auto rows = host::gather_rows<kMatrices>(row, where);
  const std::size_t g = host_cuda::lane() / 4, t = host_cuda::lane() % 4;
  for (std::size_t m = 0; m < kMatrices; ++m)
    registers[m] = rows[8 * m + g][2 * t] | unsigned{rows[8 * m + g][2 * t + 1]} << 16;
}

template <int kMatrices>
void ldmatrix_trans(unsigned (&registers)[kMatrices], const void* row,
                    std::source_location where = std::source_location::current()) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  const auto rows = host::gather_rows<kMatrices>(row, where);
  const std::size_t g = host_cuda::lane() / 4, t = host_cuda::lane() % 4;
  for (std::size_t m = 0; m < kMatrices; ++m)
    registers[m] = rows[8 * m + 2 * t][g] | unsigned{rows[8 * m + 2 * t + 1][g]} << 16;
}

}  // namespace bunchtrain::device
