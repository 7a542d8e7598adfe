// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Products of small matrices on tensor cores, and the loads that feed them from shared memory. The host
/// runtime of the tests replaces this file.
///
/// All 32 lanes of a warp call each of these together. From compute capability 8.0 on: older cards stop at
/// them (trap), so that whoever launches must choose another kernel there; ldmatrix is there from 7.5 on.
///
/// Products are exact; sums are float32, in an order and with a truncation that differ between generations of
/// cards (Fasi et al., PeerJ Comput. Sci. 7:e330, 2021): the error of a sum is within a few units of the last
/// place of its largest term.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/mma_fragments.cuh"

namespace bunchtrain::device {

/// c += a b, [16, 8] += [16, 16] [16, 8]; T is __nv_bfloat16 or __half.
template <class T>
__device__ void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b);

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define BUNCHTRAIN_MMA(shape_and_types) __trap()
#else
#define BUNCHTRAIN_MMA(shape_and_types)                                                              \
  asm volatile("mma.sync.aligned." shape_and_types                                                   \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"                  \
               : "+f"(c.values[0]), "+f"(c.values[1]), "+f"(c.values[2]), "+f"(c.values[3])          \
               : "r"(a.registers[0]), "r"(a.registers[1]), "r"(a.registers[2]), "r"(a.registers[3]), \
                 "r"(b.registers[0]), "r"(b.registers[1]))
#endif

template <>
__device__ inline void mma_m16n8k16<__nv_bfloat16>(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  BUNCHTRAIN_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
}

template <>
__device__ inline void mma_m16n8k16<__half>(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  BUNCHTRAIN_MMA("m16n8k16.row.col.f32.f16.f16.f32");
}

/// c += a b, [16, 8] += [16, 8] [8, 8], of float32 numbers of which tensor cores see 19 bits: they take no
/// notice of the low 13 bits of the mantissa (rounding toward zero). `to_tf32` before halves that error.
__device__ inline void mma_m16n8k8_tf32(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  BUNCHTRAIN_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}

#undef BUNCHTRAIN_MMA

/// The nearest number of 10 bits of mantissa, ties away from zero (cvt.rna.tf32.f32), as bits of a float.
__device__ inline unsigned to_tf32(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
  return __float_as_uint(value);
#else
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(value));
  return bits;
#endif
}

/// 1, 2 or 4 matrices of 8 rows of 16 bytes from shared memory, a register per matrix. Lanes 8 i to 8 i + 7
/// say in `row` where the rows of matrix i are, 16-byte aligned. Lane 4 g + t gets bytes 4 t to 4 t + 3 of
/// row g: two 16-bit numbers or one of 32 bits.
template <int kMatrices>
__device__ void ldmatrix(unsigned (&registers)[kMatrices], const void* row) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kMatrices == 1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];\n"
                 : "=r"(registers[0])
                 : "r"(address)
                 : "memory");
  else if constexpr (kMatrices == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];\n"
                 : "=r"(registers[0]), "=r"(registers[1])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
}

/// The same of 16-bit numbers, transposed: lane 4 g + t gets the numbers of column g in rows 2 t and 2 t + 1.
template <int kMatrices>
__device__ void ldmatrix_trans(unsigned (&registers)[kMatrices], const void* row) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kMatrices == 1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];\n"
                 : "=r"(registers[0])
                 : "r"(address)
                 : "memory");
  else if constexpr (kMatrices == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];\n"
                 : "=r"(registers[0]), "=r"(registers[1])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
}

}  // namespace bunchtrain::device
