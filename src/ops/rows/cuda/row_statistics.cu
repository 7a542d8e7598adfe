// SPDX-License-Identifier: Apache-2.0
// From partial sums over rows to what normalises them: the small kernels between those of rows.cu.
#include <cuda_runtime.h>

#include "bunchtrain/device/detail/launch.cuh"
#include "row_launch.hpp"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kColumns = 32;  ///< channels of a block
constexpr int kLanes = 32;    ///< threads that share a column of partial sums

/// The sum of a column of `partials`, for the threads of the first lane: each lane adds every 32nd, then the
/// lanes are added in order. All threads of the block must come here.
__device__ double sum_column(const double* partials, std::int64_t count, std::int64_t columns,
                             std::int64_t column, double* shared) {
  const int place = static_cast<int>(threadIdx.x) % kColumns, lane = static_cast<int>(threadIdx.x) / kColumns;
  double sum = 0;
  if (column < columns)
#pragma unroll 8
    for (std::int64_t i = lane; i < count; i += kLanes) sum += partials[i * columns + column];
  __syncthreads();
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (lane != 0) return 0;
  sum = 0;
#pragma unroll
  for (int i = 0; i < kLanes; ++i) sum += shared[i * kColumns + place];
  return sum;
}

__device__ inline std::int64_t own_column() {
  return std::int64_t{blockIdx.x} * kColumns + static_cast<int>(threadIdx.x) % kColumns;
}

// A block owns 32 columns, 32 threads share one. 8 KB of shared memory. Bound: latency.
__global__ void __launch_bounds__(kColumns* kLanes)
    sum_partials_kernel(const double* partials, std::int64_t count, std::int64_t columns, double* sums) {
  __shared__ double shared[kColumns * kLanes];
  const std::int64_t column = own_column();
  const double sum = sum_column(partials, count, columns, column, shared);
  if (threadIdx.x < kColumns && column < columns) sums[column] = sum;
}

__device__ float moved_on(float running, double batch, double momentum) {
  return static_cast<float>((1 - momentum) * static_cast<double>(running) + momentum * batch);
}

// Ioffe and Szegedy (1502.03167), variance as E[x^2] - E[x]^2 in double; running variance unbiased. A block
// owns 32 channels. 8 KB of shared memory. Bound: latency.
__global__ void __launch_bounds__(kColumns* kLanes)
    forward_statistics_kernel(ForwardStatistics a, std::int64_t columns) {
  __shared__ double shared[kColumns * kLanes];
  const std::int64_t channel = own_column();
  double mean = 0, variance = 0, total = 0;
  if (a.partials) {
    const double sum = sum_column(a.partials, a.num_partials, columns, channel, shared);
    const double square = sum_column(a.partials, a.num_partials, columns, a.channels + channel, shared);
    total = sum_column(a.partials, a.num_partials, columns, columns - 1, shared);
    const double rows = total < 1 ? 1 : total;
    mean = sum / rows;
    variance = square / rows - mean * mean;
    if (variance < 0) variance = 0;
  }
  if (threadIdx.x >= kColumns || channel >= a.channels) return;
  if (!a.partials) {
    mean = a.running_mean[channel];
    variance = a.running_var[channel];
  }
  const double inverse = 1 / sqrt(variance + a.epsilon), scale = a.weight[channel] * inverse;
  a.mean[channel] = mean;
  a.inverse[channel] = inverse;
  a.scale[channel] = static_cast<float>(scale);
  a.shift[channel] = static_cast<float>(a.bias[channel] - scale * mean);
  if (!a.partials) return;
  if (channel == 0) *a.count = total < 1 ? 1 : total;
  if (!a.moves_on) return;
  if (channel == 0 && a.num_batches) ++*a.num_batches;
  if (total <= 0) return;
  const double unbiased = variance * (total / (total < 2 ? 1 : total - 1));
  a.running_mean[channel] = moved_on(a.running_mean[channel], mean, a.momentum);
  a.running_var[channel] = moved_on(a.running_var[channel], unbiased, a.momentum);
}

// dx = scale (g - mean(g) - xhat mean(g xhat)), written as scale g - offset - slope x. As above.
__global__ void __launch_bounds__(kColumns* kLanes)
    backward_statistics_kernel(BackwardStatistics a, std::int64_t columns) {
  __shared__ double shared[kColumns * kLanes];
  const std::int64_t channel = own_column();
  double sum = sum_column(a.partials, a.num_partials, columns, channel, shared);
  double product = sum_column(a.partials, a.num_partials, columns, a.channels + channel, shared);
  if (threadIdx.x >= kColumns || channel >= a.channels) return;
  const double mean = a.mean[channel], inverse = a.inverse[channel];
  a.weight_gradient[channel] = static_cast<float>((product - sum * mean) * inverse);
  a.bias_gradient[channel] = static_cast<float>(sum);
  double slope = 0, offset = 0;
  if (a.count) {
    if (a.all_ranks) {
      sum = a.all_ranks[channel];
      product = a.all_ranks[a.channels + channel];
    }
    const double scale = a.weight[channel] * inverse;
    slope = scale * inverse * ((product - sum * mean) * inverse) / *a.count;
    offset = scale * sum / *a.count - slope * mean;
  }
  a.slope[channel] = static_cast<float>(slope);
  a.offset[channel] = static_cast<float>(offset);
}

device::LaunchConfig column_blocks(std::int64_t columns) {
  return {dim3(device::blocks_for(static_cast<std::size_t>(columns), kColumns)), dim3(kColumns * kLanes)};
}

}  // namespace

void launch_sum_partials(const double* partials, std::int64_t count, std::int64_t columns, double* sums,
                         cudaStream_t stream) {
  device::launch(sum_partials_kernel, column_blocks(columns), stream, partials, count, columns, sums);
}

void launch_forward_statistics(const ForwardStatistics& arguments, cudaStream_t stream) {
  device::launch(forward_statistics_kernel, column_blocks(arguments.channels), stream, arguments,
                 partial_columns(arguments.channels));
}

void launch_backward_statistics(const BackwardStatistics& arguments, cudaStream_t stream) {
  device::launch(backward_statistics_kernel, column_blocks(arguments.channels), stream, arguments,
                 partial_columns(arguments.channels));
}

}  // namespace bunchtrain::ops::detail
