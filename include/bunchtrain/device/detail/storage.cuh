// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Storage types on the device: what they are computed in, and how several are moved at once.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "bunchtrain/core/detail/storage_types.hpp"

namespace bunchtrain::device {

__device__ inline float widened(float x) { return x; }
__device__ inline double widened(double x) { return x; }
__device__ inline float widened(Bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float widened(Fp16 x) { return __half2float(__ushort_as_half(x.bits)); }

__device__ inline void narrow(float value, float& x) { x = value; }
__device__ inline void narrow(double value, double& x) { x = value; }
__device__ inline void narrow(float value, Bf16& x) {
  x.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
__device__ inline void narrow(float value, Fp16& x) { x.bits = __half_as_ushort(__float2half_rn(value)); }

/// What a thread moves at once.
template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T values[N];
};

/// Elements in 16 bytes.
template <class T>
constexpr int kPack = 16 / sizeof(T);

__host__ __device__ inline bool is_packable(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

}  // namespace bunchtrain::device
