// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stands in for CUDA's header of this name when kernels are compiled for the host. Holds what our kernels
/// use; add here, in CUDA's meaning, what a new kernel needs.

#include <math.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "cuda_runtime_api.h"

// NOLINTBEGIN: names and macros are CUDA's.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static thread_local  // one block runs at a time, in a thread where the runtime finds these

#define threadIdx (::bunchtrain::host_cuda::current.thread)
#define blockIdx (::bunchtrain::host_cuda::current.block)
#define blockDim (::bunchtrain::host_cuda::current.block_size)
#define gridDim (::bunchtrain::host_cuda::current.grid_size)
constexpr int warpSize = 32;

#define BUNCHTRAIN_HERE std::source_location where = std::source_location::current()

// Barriers.
inline void __syncthreads(BUNCHTRAIN_HERE) { bunchtrain::host_cuda::block_barrier(where); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, BUNCHTRAIN_HERE) {
  bunchtrain::host_cuda::exchange(bunchtrain::host_cuda::WarpOperation::sync, mask, 0, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Shuffles. As in CUDA a lane whose source is outside its segment of `width` lanes keeps its own value.
namespace bunchtrain::host_cuda {

template <class T>
T shuffle_from(unsigned mask, T value, int source, bool own, std::source_location where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const WarpExchange all = exchange(WarpOperation::shuffle, mask, bits, where);
  if (own) return value;
  if ((mask >> source & 1u) == 0) fail("a shuffle that reads a lane outside its mask", where);
  std::memcpy(&value, &all.values[source], sizeof(T));
  return value;
}

inline int first_of_segment(int width) { return static_cast<int>(lane()) / width * width; }

}  // namespace bunchtrain::host_cuda

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, BUNCHTRAIN_HERE) {
  const int first = bunchtrain::host_cuda::first_of_segment(width);
  return bunchtrain::host_cuda::shuffle_from(mask, value, first + (source & (width - 1)), false, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, BUNCHTRAIN_HERE) {
  const int source = static_cast<int>(bunchtrain::host_cuda::lane()) - static_cast<int>(delta);
  const bool own = source < bunchtrain::host_cuda::first_of_segment(width);
  return bunchtrain::host_cuda::shuffle_from(mask, value, source, own, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, BUNCHTRAIN_HERE) {
  const int source = static_cast<int>(bunchtrain::host_cuda::lane()) + static_cast<int>(delta);
  const bool own = source >= bunchtrain::host_cuda::first_of_segment(width) + width;
  return bunchtrain::host_cuda::shuffle_from(mask, value, source, own, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, BUNCHTRAIN_HERE) {
  const int source = static_cast<int>(bunchtrain::host_cuda::lane()) ^ lane_mask;
  const bool own = source >= bunchtrain::host_cuda::first_of_segment(width) + width;
  return bunchtrain::host_cuda::shuffle_from(mask, value, source, own, where);
}

// Votes and warp reductions.
inline unsigned __ballot_sync(unsigned mask, int predicate, BUNCHTRAIN_HERE) {
  const auto all = bunchtrain::host_cuda::exchange(bunchtrain::host_cuda::WarpOperation::ballot, mask,
                                                   predicate != 0, where);
  unsigned votes = 0;
  for (unsigned l = 0; l < 32; ++l) votes |= (mask >> l & 1u) != 0 && all.values[l] != 0 ? 1u << l : 0u;
  return votes;
}
inline int __any_sync(unsigned mask, int predicate, BUNCHTRAIN_HERE) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, BUNCHTRAIN_HERE) {
  return __ballot_sync(mask, predicate, where) == mask;
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, BUNCHTRAIN_HERE) {
  const auto all =
      bunchtrain::host_cuda::exchange(bunchtrain::host_cuda::WarpOperation::reduce, mask, value, where);
  unsigned sum = 0;
  for (unsigned l = 0; l < 32; ++l) sum += (mask >> l & 1u) != 0 ? static_cast<unsigned>(all.values[l]) : 0u;
  return sum;
}

// Atomics: a thread is never interrupted between barriers.
template <class T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
T atomicMax(T* address, T value) {
  const T old = *address;
  if (value > old) *address = value;
  return old;
}
template <class T>
T atomicMin(T* address, T value) {
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
template <class T>
T atomicOr(T* address, T value) {
  const T old = *address;
  *address = old | value;
  return old;
}
template <class T>
T atomicExch(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

// Arithmetic.
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1; }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float rsqrtf(float value) { return 1.0F / sqrtf(value); }
template <class T>
T __ldg(const T* address) {
  return *address;
}

#undef BUNCHTRAIN_HERE
// NOLINTEND
