// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/launch.cuh"

#define BUNCHTRAIN_HOST_DEVICE __host__ __device__
#include "flat_update.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

namespace {

constexpr int kThreads = 256;
constexpr int kUpdatePacks = 2;  ///< of a thread
constexpr int kNormPacks = 8;
constexpr std::int64_t kPackBytes = 16;

/// 16 bytes, moved by one load or store.
template <class T>
struct alignas(kPackBytes) Pack {
  static constexpr int kSize = kPackBytes / sizeof(T);
  T at[kSize];
};

template <class T>
__device__ Pack<T>& pack_of(T* values, std::int64_t pack) {
  return reinterpret_cast<Pack<T>*>(values)[pack];
}
template <class T>
__device__ const Pack<T>& pack_of(const T* values, std::int64_t pack) {
  return reinterpret_cast<const Pack<T>*>(values)[pack];
}

template <template <class> class Rule, class T>
__device__ void apply_rule(const Rule<T>& rule, const FlatRange<T>& range, T scale, std::int64_t pack,
                           Pack<T>& value) {
  const Pack<T> gradient = pack_of(range.gradient, pack);
  const int used = states_in_use(rule);
  Pack<T> state[kMaxStates] = {};
#pragma unroll
  for (int s = 0; s < Rule<T>::kStates; ++s)
    if (s < used) state[s] = pack_of(range.state[s], pack);
#pragma unroll
  for (int i = 0; i < Pack<T>::kSize; ++i) {
    const T scaled = gradient.at[i] * scale;
    if constexpr (Rule<T>::kStates == 0) {
      rule(value.at[i], scaled);
    } else if constexpr (Rule<T>::kStates == 1) {
      rule(value.at[i], scaled, state[0].at[i]);
    } else if constexpr (Rule<T>::kStates == 2) {
      rule(value.at[i], scaled, state[0].at[i], state[1].at[i]);
    } else {
      rule(value.at[i], scaled, state[0].at[i], state[1].at[i], state[2].at[i]);
    }
  }
  pack_of(range.value, pack) = value;
#pragma unroll
  for (int s = 0; s < Rule<T>::kStates; ++s)
    if (s < used) pack_of(range.state[s], pack) = state[s];
}

template <class T>
__device__ void follow(const FlatRange<T>& range, std::int64_t pack, const Pack<T>& value) {
  const AverageRule<T> rule{static_cast<T>(range.average_weight)};
  Pack<T> average = pack_of(range.average, pack);
#pragma unroll
  for (int i = 0; i < Pack<T>::kSize; ++i) rule(value.at[i], average.at[i]);
  pack_of(range.average, pack) = average;
}

/// The last row that begins at or before a block.
template <template <class> class Rule, class T>
__device__ const FlatJob<Rule, T>& job_of(const FlatJob<Rule, T>* jobs, int count, std::int64_t block) {
  int first = 0, last = count - 1;
  while (first < last) {
    const int middle = (first + last + 1) / 2;
    if (jobs[middle].first_block <= block)
      first = middle;
    else
      last = middle - 1;
  }
  return jobs[first];
}

// A block owns 8 KB of one row's arrays, a thread 16 bytes of each at a time; no shared memory. Bound: bytes,
// (3 + 2 * states) * sizeof(T) per element (value and states read and written, gradient read), with an average 2 * sizeof(T)
// more. Reference: the rules themselves, in update_rules.hpp. All threads of a block read the same row and scale,
// whose loads are broadcast.
template <template <class> class Rule, class T>
__global__ void update_kernel(const FlatJob<Rule, T>* __restrict__ jobs, int count,
                              const double* __restrict__ gradient_scale) {
  const FlatJob<Rule, T>& job = job_of(jobs, count, blockIdx.x);
  const FlatRange<T> range = job.range;
  const Rule<T> rule = job.rule;
  const T scale = static_cast<T>(*gradient_scale);
  const bool updates = std::isfinite(scale);
  if (!updates && range.average == nullptr) return;
  const std::int64_t packs = range.count / Pack<T>::kSize;
  const std::int64_t begin = (blockIdx.x - job.first_block) * kUpdatePacks * kThreads + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kUpdatePacks; ++i) {
    const std::int64_t pack = begin + i * kThreads;
    if (pack >= packs) return;
    Pack<T> value = pack_of(range.value, pack);
    if (updates) apply_rule(rule, range, scale, pack, value);
    if (range.average != nullptr) follow(range, pack, value);
  }
}

// One thread: a handful of numbers. Reference: `find_scale`.
__global__ void scale_kernel(const ScaleRule* rule, const double* norms, int count, LossScale* loss_scale,
                             ClipScale* found) {
  double sum_of_squares = 0;
  for (int i = 0; i < count; ++i) sum_of_squares += norms[i] * norms[i];
  *found = find_scale(*rule, std::sqrt(sum_of_squares), loss_scale);
}

/// Of all threads, in thread 0; halves are added to halves, so that the order is fixed.
__device__ double sum_over_block(double own) {
  __shared__ double sums[kThreads];
  sums[threadIdx.x] = own;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  return sums[0];
}

__device__ void use_norm(double norm, const NormUse& use) {
  if (use.rule == nullptr)
    *use.norm = norm;
  else
    *use.found = find_scale(*use.rule, norm, use.loss_scale);
}

// A block owns 32 KB of the values and leaves their sum; the block that comes last, which the counter tells, adds up all
// sums in their order. 2 KB of shared memory. Bound: bytes, sizeof(T) per element. Reference: a sum in float64.
template <class T>
__global__ void norm_kernel(const T* __restrict__ values, std::int64_t packs, NormMemory memory,
                            std::int64_t first_block, NormUse use) {
  __shared__ bool is_last;
  const std::int64_t begin = std::int64_t{blockIdx.x} * kNormPacks * kThreads + threadIdx.x;
  double own = 0;
#pragma unroll
  for (int p = 0; p < kNormPacks; ++p) {
    const std::int64_t pack = begin + p * kThreads;
    if (pack >= packs) break;
    const Pack<T> loaded = pack_of(values, pack);
    for (int i = 0; i < Pack<T>::kSize; ++i) own += double{loaded.at[i]} * double{loaded.at[i]};
  }
  const double sum = sum_over_block(own);
  if (threadIdx.x == 0) {
    memory.partial_sums[first_block + blockIdx.x] = sum;
    __threadfence();
    is_last = atomicAdd(memory.arrived, 1u) + 1 == memory.blocks;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  const volatile double* sums = memory.partial_sums;  // of other blocks: past the first level cache
  double own_sum = 0;
  for (std::int64_t i = threadIdx.x; i < memory.blocks; i += kThreads) own_sum += sums[i];
  const double total = sum_over_block(own_sum);
  if (threadIdx.x != 0) return;
  *memory.arrived = 0;
  use_norm(std::sqrt(total), use);
}

std::int64_t blocks_of(std::int64_t bytes, int packs) {
  const std::int64_t of_block = packs * kThreads * kPackBytes;
  return bytes > of_block ? (bytes + of_block - 1) / of_block : 1;
}

}  // namespace

std::int64_t update_blocks(std::int64_t bytes) { return blocks_of(bytes, kUpdatePacks); }
std::int64_t norm_blocks(std::int64_t bytes) { return blocks_of(bytes, kNormPacks); }

template <template <class> class Rule, class T>
void update_on_gpu(const FlatJob<Rule, T>* jobs, int count, std::int64_t blocks, const double* gradient_scale,
                   void* stream) {
  const device::LaunchConfig config{.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)};
  device::launch(update_kernel<Rule, T>, config, static_cast<cudaStream_t>(stream), jobs, count,
                 gradient_scale);
}

void find_scale_on_gpu(const ScaleRule* rule, const double* norms, int count, LossScale* loss_scale,
                       ClipScale* found, void* stream) {
  device::launch(scale_kernel, {.grid = dim3(1), .block = dim3(1)}, static_cast<cudaStream_t>(stream), rule,
                 norms, count, loss_scale, found);
}

template <class T>
void add_squares_on_gpu(const T* values, std::int64_t count, const NormMemory& memory,
                        std::int64_t first_block, const NormUse& use, void* stream) {
  const auto blocks = norm_blocks(count * static_cast<std::int64_t>(sizeof(T)));
  const device::LaunchConfig config{.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)};
  device::launch(norm_kernel<T>, config, static_cast<cudaStream_t>(stream), values, count / Pack<T>::kSize,
                 memory, first_block, use);
}

#define INSTANTIATE(Rule)                                                                            \
  template void update_on_gpu(const FlatJob<Rule, float>*, int, std::int64_t, const double*, void*); \
  template void update_on_gpu(const FlatJob<Rule, double>*, int, std::int64_t, const double*, void*);
BUNCHTRAIN_UPDATE_RULES(INSTANTIATE)
#undef INSTANTIATE
template void add_squares_on_gpu(const float*, std::int64_t, const NormMemory&, std::int64_t, const NormUse&,
                                 void*);
template void add_squares_on_gpu(const double*, std::int64_t, const NormMemory&, std::int64_t, const NormUse&,
                                 void*);

}  // namespace bunchtrain::optim
