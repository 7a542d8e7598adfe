// SPDX-License-Identifier: Apache-2.0
#include "cuda_on_host/device/tiled_gemm.hpp"

#include "bunchtrain/device/detail/async_copy.cuh"
#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/mma.cuh"

namespace bunchtrain::test {
namespace {

using device::FragmentA;
using device::FragmentB;
using device::FragmentC;

constexpr int kTile = 32;      ///< rows and columns of c in a block; four warps of 16 x 16
constexpr int kRowBytes = 64;  ///< a row of a tile of a or b
constexpr int kPitch = 80;     ///< and its distance to the next: 8 rows meet all banks once
constexpr int kTileBytes = kTile * kPitch;
constexpr int kStages = 3;
constexpr int kThreads = 128;

/// Rounds what is in a register, or leaves it.
template <class T>
__device__ unsigned operand_bits(unsigned bits) {
  if constexpr (sizeof(T) == 4)
    return device::to_tf32(__uint_as_float(bits));
  else
    return bits;
}

template <class T>
__device__ void multiply(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  if constexpr (sizeof(T) == 4)
    device::mma_m16n8k8_tf32(c, a, b);
  else
    device::mma_m16n8k16<T>(c, a, b);
}

/// Asks for 32 rows of 64 bytes, from (row, column) of a matrix; 16 bytes per thread, zeros outside.
template <class T>
__device__ void start_tile(char* tile, const T* matrix, std::int64_t rows, std::int64_t columns,
                           std::int64_t row, std::int64_t column) {
  const int below = static_cast<int>(threadIdx.x) / 4, chunk = static_cast<int>(threadIdx.x) % 4;
  row += below;
  column += chunk * static_cast<int>(16 / sizeof(T));
  const bool in_range = row < rows && column < columns;
  device::copy_async<16>(tile + below * kPitch + chunk * 16,
                         in_range ? matrix + row * columns + column : matrix, in_range);
}

/// The warp's two 16 x 8 products over 32 bytes of depth.
template <class T>
__device__ void multiply_tiles(const char* a_tile, const char* b_tile, int row, int column, int depth,
                               FragmentC (&c)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  FragmentA a;
  device::ldmatrix<4>(a.registers, a_tile + (row + lane % 16) * kPitch + depth * 32 + lane / 16 * 16);
  unsigned both[4];
  if constexpr (sizeof(T) == 4)  // b is [n, k]
    device::ldmatrix<4>(
        both, b_tile + (column + lane % 8 + lane / 16 * 8) * kPitch + depth * 32 + lane / 8 % 2 * 16);
  else  // b is [k, n]
    device::ldmatrix_trans<4>(both, b_tile + (depth * 16 + lane % 16) * kPitch + column * 2 + lane / 16 * 16);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    a.registers[i] = operand_bits<T>(a.registers[i]);
    both[i] = operand_bits<T>(both[i]);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half)
    multiply<T>(c[half], a, FragmentB{{both[2 * half], both[2 * half + 1]}});
}

/// The warp's 16 x 16 numbers, from (row, column) of c.
__device__ void store(const GemmSizes& s, const FragmentC (&c)[2], std::int64_t row, std::int64_t column,
                      float* out) {
  const int group = static_cast<int>(threadIdx.x) % 32 / 4, place = static_cast<int>(threadIdx.x) % 4;
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 4; ++i) {
      const std::int64_t r = row + group + i / 2 * 8, n = column + half * 8 + place * 2 + i % 2;
      if (r < s.m && n < s.n) out[r * s.n + n] = c[half].values[i];
    }
}

// c = a b. A block owns 32 x 32 of c, a warp 16 x 16; the depth goes by in tiles of 64 bytes through a ring
// of three stages. Shared memory: 15 KB. Bound: this is a test, not a contender.
template <class T, GemmMistake kMistake>
__global__ void __launch_bounds__(kThreads) gemm_kernel(GemmSizes s, const T* a, const T* b, float* c) {
  constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(T));
  char* ring = device::dynamic_shared<char>();
  const std::int64_t row = std::int64_t{blockIdx.x} * kTile, column = std::int64_t{blockIdx.y} * kTile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto steps = static_cast<int>((s.k + kDepth - 1) / kDepth);
  const auto start = [&](int step) {
    char* stage = ring + step % kStages * 2 * kTileBytes;
    const std::int64_t depth = std::int64_t{step} * kDepth;
    if (step < steps) {
      start_tile(stage, a, s.m, s.k, row, depth);
      if constexpr (sizeof(T) == 4)
        start_tile(stage + kTileBytes, b, s.n, s.k, column, depth);
      else
        start_tile(stage + kTileBytes, b, s.k, s.n, depth, column);
    }
    device::commit_copies();
  };
  for (int step = 0; step < kStages - 1; ++step) start(step);
  FragmentC sums[2] = {};
  for (int step = 0; step < steps; ++step) {
    if constexpr (kMistake == GemmMistake::waits_for_too_few)
      device::wait_for_copies<kStages - 1>();
    else if constexpr (kMistake != GemmMistake::forgets_to_wait)
      device::wait_for_copies<kStages - 2>();
    if constexpr (kMistake != GemmMistake::forgets_the_barrier) __syncthreads();
    start(step + kStages - 1);
    const char* stage = ring + step % kStages * 2 * kTileBytes;
    for (int depth = 0; depth < kRowBytes / 32; ++depth)
      multiply_tiles<T>(stage, stage + kTileBytes, warp / 2 * 16, warp % 2 * 16, depth, sums);
  }
  store(s, sums, row + warp / 2 * 16, column + warp % 2 * 16, c);
}

/// Two 16-bit numbers of a register.
template <class T>
__device__ unsigned pair(T low, T high) {
  unsigned short bits[2];
  if constexpr (sizeof(T) == 2) {
    bits[0] = *reinterpret_cast<const unsigned short*>(&low);
    bits[1] = *reinterpret_cast<const unsigned short*>(&high);
  }
  return bits[0] | unsigned{bits[1]} << 16;
}

// The tables of the PTX manual, letter by letter. One warp.
template <class T>
__global__ void single_mma_kernel(const T* a, const T* b, float* c) {
  const int group = static_cast<int>(threadIdx.x) >> 2, in_group = static_cast<int>(threadIdx.x) % 4;
  FragmentA fa;
  FragmentB fb;
  if constexpr (sizeof(T) == 2) {
    const auto element_a = [&](int i) {
      const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
      const int column = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      return a[row * 16 + column];
    };
    const auto element_b = [&](int i) {
      const int row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      return b[row * 8 + group];
    };
    for (int i = 0; i < 4; ++i) fa.registers[i] = pair(element_a(2 * i), element_a(2 * i + 1));
    for (int i = 0; i < 2; ++i) fb.registers[i] = pair(element_b(2 * i), element_b(2 * i + 1));
  } else {
    for (int i = 0; i < 4; ++i) {
      const int row = i == 0 || i == 2 ? group : group + 8;
      const int column = i < 2 ? in_group : in_group + 4;
      fa.registers[i] = __float_as_uint(a[row * 8 + column]);
    }
    for (int i = 0; i < 2; ++i) fb.registers[i] = __float_as_uint(b[group * 8 + in_group + 4 * i]);
  }
  FragmentC fc{};
  multiply<T>(fc, fa, fb);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8, column = in_group * 2 + (i & 1);
    c[row * 8 + column] = fc.values[i];
  }
}

template <class T>
void launch_gemm_of(GemmMistake mistake, const GemmSizes& s, const void* a, const void* b, float* c,
                    cudaStream_t stream) {
  const auto kernel = mistake == GemmMistake::none              ? gemm_kernel<T, GemmMistake::none>
                      : mistake == GemmMistake::forgets_to_wait ? gemm_kernel<T, GemmMistake::forgets_to_wait>
                      : mistake == GemmMistake::waits_for_too_few
                          ? gemm_kernel<T, GemmMistake::waits_for_too_few>
                          : gemm_kernel<T, GemmMistake::forgets_the_barrier>;
  const dim3 grid(device::blocks_for(static_cast<std::size_t>(s.m), kTile),
                  device::blocks_for(static_cast<std::size_t>(s.n), kTile));
  device::launch(kernel, {grid, dim3(kThreads), std::size_t{kStages} * 2 * kTileBytes}, stream, s,
                 static_cast<const T*>(a), static_cast<const T*>(b), c);
}

}  // namespace

void launch_gemm(GemmOperand operand, GemmMistake mistake, const GemmSizes& sizes, const void* a,
                 const void* b, float* c, cudaStream_t stream) {
  switch (operand) {
    case GemmOperand::bfloat16:
      return launch_gemm_of<__nv_bfloat16>(mistake, sizes, a, b, c, stream);
    case GemmOperand::float16:
      return launch_gemm_of<__half>(mistake, sizes, a, b, c, stream);
    case GemmOperand::tf32:
      return launch_gemm_of<float>(mistake, sizes, a, b, c, stream);
  }
}

void launch_single_mma(GemmOperand operand, const void* a, const void* b, float* c, cudaStream_t stream) {
  const device::LaunchConfig config{dim3(1), dim3(32)};
  switch (operand) {
    case GemmOperand::bfloat16:
      return device::launch(single_mma_kernel<__nv_bfloat16>, config, stream,
                            static_cast<const __nv_bfloat16*>(a), static_cast<const __nv_bfloat16*>(b), c);
    case GemmOperand::float16:
      return device::launch(single_mma_kernel<__half>, config, stream, static_cast<const __half*>(a),
                            static_cast<const __half*>(b), c);
    case GemmOperand::tf32:
      return device::launch(single_mma_kernel<float>, config, stream, static_cast<const float*>(a),
                            static_cast<const float*>(b), c);
  }
}

}  // namespace bunchtrain::test
