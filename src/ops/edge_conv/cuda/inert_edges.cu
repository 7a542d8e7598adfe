// SPDX-License-Identifier: Apache-2.0
#include "inert_edges.hpp"

#include <type_traits>

#include "bunchtrain/device/detail/launch.cuh"
#include "bunchtrain/device/detail/mma.cuh"
#include "exact_float.cuh"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kWarp = 32, kWarps = 8, kThreads = kWarp * kWarps;

/// What a product makes of its operands.
template <class S>
__device__ float as_operand(float value) {
  if constexpr (std::is_same_v<S, float>) {
    return __uint_as_float(device::to_tf32(value));
  } else {
    S narrow;
    device::narrow(value, narrow);
    return device::widened(narrow);
  }
}

template <class S>
__device__ float stored(float value, S& place) {
  device::narrow(value, place);
  return device::widened(place);
}

template <class S>
__device__ float value_at(const S* row, int channel) {
  return row ? device::widened(row[channel]) : 0.0F;
}

template <class S>
__device__ float activation(const S* row, const EdgeAffine& affine, int channel) {
  return as_operand<S>(fmaxf(0, value_at(row, channel) * affine.scale[channel] + affine.shift[channel]));
}

__global__ void __launch_bounds__(kThreads)
    inert_first_kernel(const double* edges, int channels, double* partials) {
  for (int i = static_cast<int>(threadIdx.x); i <= 2 * channels; i += kThreads)
    partials[i] = i == 2 * channels ? *edges : 0;
}

// A warp owns a channel of the row, its lanes share the sum. Shared memory: 1 KB. Bound: latency.
template <class S>
__global__ void __launch_bounds__(kThreads)
    inert_layer_kernel(InertRow<S> row, EdgeAffine affine, EdgeProduct product, const double* edges,
                       double* partials) {
  __shared__ float activations[kWidestEdge];
  for (int i = static_cast<int>(threadIdx.x); i < product.from; i += kThreads)
    activations[i] = activation(row.in, affine, i);
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int channel = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (channel >= product.to) return;
  float sum = 0;
  for (int i = lane; i < product.from; i += kWarp)
    sum += activations[i] * as_operand<S>(product.weight[channel * product.from + i]);
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
  if (lane != 0) return;
  const auto y = static_cast<double>(stored(sum, row.out[channel]));
  if (!partials) return;
  partials[channel] = *edges * y;
  partials[product.to + channel] = *edges * y * y;
  if (channel == 0) partials[2 * product.to] = *edges;
}

// A block owns 32 columns of the weight; each of its warps takes every eighth row, their sums are added in order.
// Shared memory: 2 KB. Bound: latency.
template <class S>
__global__ void __launch_bounds__(kThreads)
    inert_backward_kernel(InertBackward<S> pass, const double* edges) {
  __shared__ float gradients[kWidestEdge], sums[kThreads];
  const auto [weight, from, to] = pass.product;
  for (int c = static_cast<int>(threadIdx.x); c < to; c += kThreads) {
    const float y = value_at(pass.y, c);
    gradients[c] = as_operand<S>(pass.affine.scale[c] * value_at(pass.gradient, c) -
                                 pass.correction.offset[c] - pass.correction.slope[c] * y);
  }
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  const int column = static_cast<int>(blockIdx.x) * kWarp + thread % kWarp;
  const bool exists = column < from;
  const float a = exists ? activation(pass.before, pass.affine_before, column) : 0;
  const auto count = static_cast<float>(*edges);
  float sum = 0;
  for (int row = thread / kWarp; exists && row < to; row += kWarps) {
    sum += gradients[row] * as_operand<S>(weight[row * from + column]);
    pass.weight_gradient[row * from + column] += count * gradients[row] * a;
  }
  sums[thread] = sum;
  __syncthreads();
  if (thread >= kWarp || !exists) return;
  sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp * kWarp + thread];
  sum = a > 0 ? sum : 0;
  const auto g = static_cast<double>(pass.gradient_before ? stored(sum, pass.gradient_before[column]) : sum);
  pass.partials[column] = *edges * g;
  pass.partials[from + column] = *edges * g * static_cast<double>(value_at(pass.before, column));
  if (column == 0) pass.partials[2 * from] = *edges;
}

}  // namespace

void launch_inert_first(const double* edges, int channels, double* partials, cudaStream_t stream) {
  device::launch(inert_first_kernel, {dim3(1), dim3(kThreads)}, stream, edges, channels, partials);
}

template <class S>
void launch_inert_layer(const InertRow<S>& row, const EdgeAffine& affine, const EdgeProduct& product,
                        const double* edges, double* partials, cudaStream_t stream) {
  const unsigned blocks = device::blocks_for(static_cast<std::size_t>(product.to), kWarps);
  device::launch(inert_layer_kernel<S>, {dim3(blocks), dim3(kThreads)}, stream, row, affine, product, edges,
                 partials);
}

template <class S>
void launch_inert_backward(const InertBackward<S>& pass, const double* edges, cudaStream_t stream) {
  const unsigned blocks = device::blocks_for(static_cast<std::size_t>(pass.product.from), kWarp);
  device::launch(inert_backward_kernel<S>, {dim3(blocks), dim3(kThreads)}, stream, pass, edges);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                            \
  template void launch_inert_layer(const InertRow<S>&, const EdgeAffine&, const EdgeProduct&, const double*, \
                                   double*, cudaStream_t);                                                   \
  template void launch_inert_backward(const InertBackward<S>&, const double*, cudaStream_t);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(ExactFloat)
BUNCHTRAIN_INSTANTIATE(Bf16)
#undef BUNCHTRAIN_INSTANTIATE

}  // namespace bunchtrain::ops::detail
