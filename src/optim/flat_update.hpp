// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Applies an update rule to flat memory, on the CPU or on a GPU. Raw pointers: needs no LibTorch.

#include <cstdint>

#include "clip_scale.hpp"

namespace bunchtrain::optim {

inline constexpr int kMaxStates = 2;

/// One stretch of an arena. All pointers are 16-byte aligned and `count` is a multiple of 16 bytes
/// (arena padding included).
template <class T>
struct FlatRange {
  T* value;
  const T* gradient;
  const double* gradient_scale;  ///< where the range is
  T* state[kMaxStates];
  std::int64_t count;
};

/// Elementwise, hence the same bits for any number of threads. A gradient scale that is not finite in T, or
/// a rule that is idle, leaves everything as it is.
template <template <class> class Rule, class T>
void update_on_cpu(const Rule<T>* rule, const FlatRange<T>& range);

/// The same, asynchronous on `stream` (a cudaStream_t) of the current device, which has the rule too.
/// @throws NotBuiltError in a CPU build
template <template <class> class Rule, class T>
void update_on_gpu(const Rule<T>* rule, const FlatRange<T>& range, void* stream);

/// From the norms of `count` arenas to the scale of an update, all of it on the GPU, which has the rule too; `loss_scale` as in
/// `find_scale`. Asynchronous on `stream`.
/// @throws NotBuiltError in a CPU build
void find_scale_on_gpu(const ScaleRule* rule, const double* norms, int count, LossScale* loss_scale,
                       ClipScale* found, void* stream);

/// Sum of squares in float64, the same bits for any number of threads.
template <class T>
double sum_of_squares_on_cpu(const T* values, std::int64_t count);

}  // namespace bunchtrain::optim
