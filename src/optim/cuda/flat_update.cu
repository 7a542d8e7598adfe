// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/detail/launch.cuh"

#define BUNCHTRAIN_HOST_DEVICE __host__ __device__
#include "flat_update.hpp"
#include "update_rules.hpp"

namespace bunchtrain::optim {

namespace {

constexpr int kThreads = 256;

/// 16 bytes, moved by one load or store.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

template <template <class> class Rule, class T>
__device__ void update_pack(const Rule<T>& rule, const FlatRange<T>& range, T scale, std::int64_t pack) {
  using PackT = Pack<T>;
  PackT value = reinterpret_cast<PackT*>(range.value)[pack];
  const PackT gradient = reinterpret_cast<const PackT*>(range.gradient)[pack];
  PackT state[kMaxStates];
#pragma unroll
  for (int s = 0; s < Rule<T>::kStates; ++s) state[s] = reinterpret_cast<PackT*>(range.state[s])[pack];
#pragma unroll
  for (int i = 0; i < PackT::kSize; ++i) {
    const T scaled = gradient.at[i] * scale;
    if constexpr (Rule<T>::kStates == 0) {
      rule(value.at[i], scaled);
    } else if constexpr (Rule<T>::kStates == 1) {
      rule(value.at[i], scaled, state[0].at[i]);
    } else {
      rule(value.at[i], scaled, state[0].at[i], state[1].at[i]);
    }
  }
  reinterpret_cast<PackT*>(range.value)[pack] = value;
#pragma unroll
  for (int s = 0; s < Rule<T>::kStates; ++s) reinterpret_cast<PackT*>(range.state[s])[pack] = state[s];
}

// One thread owns 16 bytes of every array; no shared memory. Bound: bytes, (3 + 2 * states) *
// sizeof(T) per element (value and states read and written, gradient read). Reference: the rule
// itself, in update_rules.hpp. All threads read the same rule and scale, whose loads are broadcast; if the scale
// is not finite in T, or the rule idle, they leave.
template <template <class> class Rule, class T>
__global__ void update_kernel(const Rule<T>* __restrict__ rule_in_memory, FlatRange<T> range,
                              std::int64_t packs) {
  const std::int64_t pack = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (pack >= packs) return;
  const T scale = static_cast<T>(*range.gradient_scale);
  const Rule<T> rule = *rule_in_memory;
  if (std::isfinite(scale) && !is_idle(rule)) update_pack(rule, range, scale, pack);
}

// One thread: a handful of numbers. Reference: `find_scale`.
__global__ void scale_kernel(const ScaleRule* rule, const double* norms, int count, LossScale* loss_scale,
                             ClipScale* found) {
  double sum_of_squares = 0;
  for (int i = 0; i < count; ++i) sum_of_squares += norms[i] * norms[i];
  *found = find_scale(*rule, std::sqrt(sum_of_squares), loss_scale);
}

}  // namespace

template <template <class> class Rule, class T>
void update_on_gpu(const Rule<T>* rule, const FlatRange<T>& range, void* stream) {
  const std::int64_t packs = range.count / Pack<T>::kSize;
  const device::LaunchConfig config{.grid = dim3(device::blocks_for(packs, kThreads)),
                                    .block = dim3(kThreads)};
  device::launch(update_kernel<Rule, T>, config, static_cast<cudaStream_t>(stream), rule, range, packs);
}

void find_scale_on_gpu(const ScaleRule* rule, const double* norms, int count, LossScale* loss_scale,
                       ClipScale* found, void* stream) {
  device::launch(scale_kernel, {.grid = dim3(1), .block = dim3(1)}, static_cast<cudaStream_t>(stream), rule,
                 norms, count, loss_scale, found);
}

#define INSTANTIATE(Rule)                                                          \
  template void update_on_gpu(const Rule<float>*, const FlatRange<float>&, void*); \
  template void update_on_gpu(const Rule<double>*, const FlatRange<double>&, void*);
BUNCHTRAIN_UPDATE_RULES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace bunchtrain::optim
