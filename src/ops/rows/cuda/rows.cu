// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/storage.cuh"
#include "row_launch.hpp"

namespace bunchtrain::ops::detail {
namespace {

using device::is_packable, device::kPack, device::narrow, device::Pack, device::widened;

constexpr int kThreads = 256;
/// Per multiprocessor at least: left alone the compiler spills registers to fit one more (sm_90).
constexpr int kBlocks = 2;
constexpr int kMaxPartials = 1024;
/// Rows that a thread adds in float before it goes on in double.
constexpr int kFloatRows = 32;
/// Rows that a thread of the elementwise kernels owns.
constexpr int kElementwiseRows = 8;
/// Rows in flight per thread, where registers allow.
constexpr int kUnroll = 4;

/// How rows are dealt to blocks: a block owns consecutive rows of `width` packs of N channels.
struct Tiling {
  std::int64_t rows, channels;
  std::int64_t rows_per_block;
  std::int64_t partial_columns;
  int width;        ///< packs of a row in one block
  int rows_a_time;  ///< threads below one another

  dim3 grid(int pack) const {
    return dim3(
        device::blocks_for(static_cast<std::size_t>(rows), static_cast<std::size_t>(rows_per_block)),
        device::blocks_for(static_cast<std::size_t>(channels), static_cast<std::size_t>(width * pack)));
  }
};

Tiling make_tiling(const RowShape& shape, int pack) {
  const std::int64_t packs = shape.channels / pack;
  const int width = static_cast<int>(packs < kThreads ? packs : kThreads);
  return {shape.rows, shape.channels, 0, partial_columns(shape.channels), width, kThreads / width};
}

Tiling elementwise_tiling(const RowShape& shape, int pack) {
  Tiling tiling = make_tiling(shape, pack);
  tiling.rows_per_block = std::int64_t{kElementwiseRows} * tiling.rows_a_time;
  return tiling;
}

/// The same blocks of rows whether packs are used or not: sizes alone decide the order of sums.
std::int64_t summed_rows_per_block(const RowShape& shape, int widest_pack) {
  const std::int64_t packs = (shape.channels + widest_pack - 1) / widest_pack;
  const std::int64_t least = packs < kThreads ? kFloatRows / 2 * (kThreads / packs) : kFloatRows / 2;
  const std::int64_t even = (shape.rows + kMaxPartials - 1) / kMaxPartials;
  return even < least ? least : even;
}

/// The pack and the rows that a thread owns: every `step`th from `row` on. An idle thread owns none.
template <int N>
struct Lane {
  std::int64_t channel, row, end;
  int below;  ///< which of the threads below one another
  int step;

  __device__ explicit Lane(const Tiling& t)
      : below(static_cast<int>(threadIdx.x) / t.width), step(t.rows_a_time) {
    const std::int64_t first = std::int64_t{blockIdx.x} * t.rows_per_block;
    channel = (std::int64_t{blockIdx.y} * t.width + static_cast<int>(threadIdx.x) % t.width) * N;
    row = first + below;
    end = min(t.rows, first + t.rows_per_block);
    if (below >= step || channel >= t.channels) end = row;
  }
};

template <int N>
struct Floats {
  float values[N];
  __device__ explicit Floats(const float* from) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = from[i];
  }
};

/// What of dy the ReLU lets through. The very arithmetic of the forward pass.
__device__ inline float normalised(float x, float scale, float shift) { return __fmaf_rn(x, scale, shift); }
__device__ inline float kept_gradient(float dy, float x, float scale, float shift, bool relu) {
  return !relu || normalised(x, scale, shift) > 0 ? dy : 0.0F;
}

/// Sums of two numbers per channel of one thread: in float over a few rows, then in double.
template <int N>
struct Sums {
  float first[N] = {}, second[N] = {};
  double first_wide[N] = {}, second_wide[N] = {};

  __device__ void widen() {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      first_wide[i] += static_cast<double>(first[i]);
      second_wide[i] += static_cast<double>(second[i]);
      first[i] = second[i] = 0.0F;
    }
  }
};

/// Calls `visit(row)` for the rows of a lane and widens the sums now and then.
template <int N, class Visit>
__device__ void sum_rows(const Lane<N>& lane, Sums<N>& sums, Visit visit) {
  const std::int64_t stride = std::int64_t{kFloatRows} * lane.step;
  for (std::int64_t first = lane.row; first < lane.end; first += stride) {
    const std::int64_t end = min(lane.end, first + stride);
#pragma unroll kUnroll
    for (std::int64_t row = first; row < end; row += lane.step) visit(row);
    sums.widen();
  }
}

/// One number per thread and channel of its pack, added over the threads below one another, in order.
template <int N>
__device__ void write_column_sums(const Tiling& t, const Lane<N>& lane, const double (&values)[N],
                                  double* shared, double* out) {
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) shared[i * kThreads + threadIdx.x] = values[i];
  __syncthreads();
  if (lane.below != 0 || lane.channel >= t.channels) return;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    double sum = 0;
    for (int below = 0; below < t.rows_a_time; ++below)
      sum += shared[i * kThreads + below * t.width + threadIdx.x];
    out[lane.channel + i] = sum;
  }
}

template <int N>
__device__ void write_sums(const Tiling& t, const Lane<N>& lane, const Sums<N>& sums, double* shared,
                           double* out) {
  write_column_sums(t, lane, sums.first_wide, shared, out);
  write_column_sums(t, lane, sums.second_wide, shared, out + t.channels);
}

/// The count of a block, from what each thread of the first channel has counted.
__device__ void write_count(const Tiling& t, int counted, double* shared, double* out) {
  __syncthreads();
  shared[threadIdx.x] = static_cast<double>(counted);
  __syncthreads();
  if (threadIdx.x != 0 || blockIdx.y != 0) return;
  double sum = 0;
  for (int below = 0; below < t.rows_a_time; ++below) sum += shared[below * t.width];
  out[2 * t.channels] = sum;
}

// Column sums of x and x squared, and the count of rows.
//
//   tiling    a block owns rows and up to 256 packs of 16 bytes side by side; a thread a pack of every
//             rows_a_time'th row, 4 in flight; float over 32 rows, then double; threads added in order
//   shared    kThreads * N * 8 bytes: 16 KB for N = 8
//   bound     HBM reads: each element once
//   registers  nvcc 13.0, sm_90, no spills: at most 58 in float32, 80 in 16-bit types
template <class S, int N, bool kMasked>
__global__ void __launch_bounds__(kThreads, kBlocks)
    moments_kernel(Tiling t, const S* __restrict__ x, const bool* __restrict__ mask, double* partials) {
  __shared__ double shared[kThreads * N];
  const Lane<N> lane(t);
  Sums<N> sums;
  int counted = 0;
  sum_rows(lane, sums, [&](std::int64_t row) {
    if (kMasked && !mask[row]) return;
    ++counted;
    const auto pack = *reinterpret_cast<const Pack<S, N>*>(x + row * t.channels + lane.channel);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = widened(pack.values[i]);
      sums.first[i] += value;
      sums.second[i] = __fmaf_rn(value, value, sums.second[i]);
    }
  });
  double* out = partials + blockIdx.x * t.partial_columns;
  write_sums(t, lane, sums, shared, out);
  write_count(t, counted, shared, out);
}

// Column sums of g and g * x, g = dy where the ReLU lets it through. Tiling and shared memory as above;
// bound: HBM reads, two elements.
template <class S, int N>
__global__ void __launch_bounds__(kThreads, kBlocks)
    gradient_moments_kernel(Tiling t, const S* __restrict__ dy, const S* __restrict__ x, RowAffine affine,
                            double* partials) {
  __shared__ double shared[kThreads * N];
  const Lane<N> lane(t);
  const std::int64_t channel = lane.channel < t.channels ? lane.channel : 0;
  const Floats<N> scale(affine.scale + channel), shift(affine.shift + channel);
  Sums<N> sums;
  int counted = 0;
  sum_rows(lane, sums, [&](std::int64_t row) {
    ++counted;
    const std::int64_t place = row * t.channels + lane.channel;
    const auto gradients = *reinterpret_cast<const Pack<S, N>*>(dy + place);
    const auto pack = *reinterpret_cast<const Pack<S, N>*>(x + place);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = widened(pack.values[i]);
      const float kept =
          kept_gradient(widened(gradients.values[i]), value, scale.values[i], shift.values[i], affine.relu);
      sums.first[i] += kept;
      sums.second[i] = __fmaf_rn(kept, value, sums.second[i]);
    }
  });
  double* out = partials + blockIdx.x * t.partial_columns;
  write_sums(t, lane, sums, shared, out);
  write_count(t, counted, shared, out);
}

// y = max(0, x * scale + shift). A thread owns a pack of 8 rows, its channels' numbers in registers. No
// shared memory. Bound: HBM, an element read and one written.
template <class S, int N>
__global__ void __launch_bounds__(kThreads, kBlocks)
    normalise_kernel(Tiling t, const S* __restrict__ x, RowAffine affine, S* __restrict__ y) {
  const Lane<N> lane(t);
  if (lane.row >= lane.end) return;
  const Floats<N> scale(affine.scale + lane.channel), shift(affine.shift + lane.channel);
#pragma unroll kUnroll
  for (std::int64_t row = lane.row; row < lane.end; row += lane.step) {
    const std::int64_t place = row * t.channels + lane.channel;
    auto pack = *reinterpret_cast<const Pack<S, N>*>(x + place);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = normalised(widened(pack.values[i]), scale.values[i], shift.values[i]);
      narrow(!affine.relu || value > 0 ? value : 0.0F, pack.values[i]);
    }
    *reinterpret_cast<Pack<S, N>*>(y + place) = pack;
  }
}

// dx = scale * g - offset - slope * x, without the last two in rows that do not count. As normalise_kernel;
// bound: HBM, two elements read and one written.
template <class S, int N>
__global__ void __launch_bounds__(kThreads, kBlocks)
    normalise_backward_kernel(Tiling t, const S* __restrict__ dy, const S* __restrict__ x, RowAffine affine,
                              RowCorrection correction, S* __restrict__ dx) {
  const Lane<N> lane(t);
  if (lane.row >= lane.end) return;
  const Floats<N> scale(affine.scale + lane.channel), shift(affine.shift + lane.channel);
  const Floats<N> slope(correction.slope + lane.channel), offset(correction.offset + lane.channel);
#pragma unroll 2
  for (std::int64_t row = lane.row; row < lane.end; row += lane.step) {
    const std::int64_t place = row * t.channels + lane.channel;
    const bool counts = !correction.mask || correction.mask[row];
    auto gradients = *reinterpret_cast<const Pack<S, N>*>(dy + place);
    const auto pack = *reinterpret_cast<const Pack<S, N>*>(x + place);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = widened(pack.values[i]);
      const float kept =
          kept_gradient(widened(gradients.values[i]), value, scale.values[i], shift.values[i], affine.relu);
      const float subtracted = counts ? __fmaf_rn(slope.values[i], value, offset.values[i]) : 0.0F;
      narrow(__fmaf_rn(scale.values[i], kept, -subtracted), gradients.values[i]);
    }
    *reinterpret_cast<Pack<S, N>*>(dx + place) = gradients;
  }
}

template <class S>
bool allows_packs(const RowShape& shape, std::initializer_list<const void*> pointers) {
  bool packs = shape.channels % kPack<S> == 0;
  for (const void* pointer : pointers) packs = packs && is_packable(pointer);
  return packs;
}

}  // namespace

template <class S>
std::int64_t partial_sums(const RowShape& shape) {
  const std::int64_t rows_per_block = summed_rows_per_block(shape, kPack<S>);
  return (shape.rows + rows_per_block - 1) / rows_per_block;
}

template <class S>
void launch_moments(const RowShape& shape, const S* x, const bool* mask, double* partials,
                    cudaStream_t stream) {
  const bool packs = allows_packs<S>(shape, {x});
  const int pack = packs ? kPack<S> : 1;
  Tiling tiling = make_tiling(shape, pack);
  tiling.rows_per_block = summed_rows_per_block(shape, kPack<S>);
  const auto kernel = mask ? (packs ? moments_kernel<S, kPack<S>, true> : moments_kernel<S, 1, true>)
                           : (packs ? moments_kernel<S, kPack<S>, false> : moments_kernel<S, 1, false>);
  device::launch(kernel, {tiling.grid(pack), dim3(kThreads)}, stream, tiling, x, mask, partials);
}

template <class S>
void launch_gradient_moments(const RowShape& shape, const S* dy, const S* x, const RowAffine& affine,
                             double* partials, cudaStream_t stream) {
  const bool packs = allows_packs<S>(shape, {dy, x});
  const int pack = packs ? kPack<S> : 1;
  Tiling tiling = make_tiling(shape, pack);
  tiling.rows_per_block = summed_rows_per_block(shape, kPack<S>);
  const auto kernel = packs ? gradient_moments_kernel<S, kPack<S>> : gradient_moments_kernel<S, 1>;
  device::launch(kernel, {tiling.grid(pack), dim3(kThreads)}, stream, tiling, dy, x, affine, partials);
}

template <class S>
void launch_normalise(const RowShape& shape, const S* x, const RowAffine& affine, S* y, cudaStream_t stream) {
  const bool packs = allows_packs<S>(shape, {x, y});
  const int pack = packs ? kPack<S> : 1;
  const Tiling tiling = elementwise_tiling(shape, pack);
  const auto kernel = packs ? normalise_kernel<S, kPack<S>> : normalise_kernel<S, 1>;
  device::launch(kernel, {tiling.grid(pack), dim3(kThreads)}, stream, tiling, x, affine, y);
}

template <class S>
void launch_normalise_backward(const RowShape& shape, const S* dy, const S* x, const RowAffine& affine,
                               const RowCorrection& correction, S* dx, cudaStream_t stream) {
  const bool packs = allows_packs<S>(shape, {dy, x, dx});
  const int pack = packs ? kPack<S> : 1;
  const Tiling tiling = elementwise_tiling(shape, pack);
  const auto kernel = packs ? normalise_backward_kernel<S, kPack<S>> : normalise_backward_kernel<S, 1>;
  device::launch(kernel, {tiling.grid(pack), dim3(kThreads)}, stream, tiling, dy, x, affine, correction, dx);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                       \
  template std::int64_t partial_sums<S>(const RowShape&);                                               \
  template void launch_moments(const RowShape&, const S*, const bool*, double*, cudaStream_t);          \
  template void launch_gradient_moments(const RowShape&, const S*, const S*, const RowAffine&, double*, \
                                        cudaStream_t);                                                  \
  template void launch_normalise(const RowShape&, const S*, const RowAffine&, S*, cudaStream_t);        \
  template void launch_normalise_backward(const RowShape&, const S*, const S*, const RowAffine&,        \
                                          const RowCorrection&, S*, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(Bf16)
BUNCHTRAIN_INSTANTIATE(Fp16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
