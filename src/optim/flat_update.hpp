// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Applies update rules to flat memory, on the CPU or on a GPU, and finds norms there. Raw pointers: needs no LibTorch.

#include <cstdint>

#include "clip_scale.hpp"

namespace bunchtrain::optim {

inline constexpr int kMaxStates = 3;

/// One stretch of an arena. All pointers are 16-byte aligned and `count` is a multiple of 16 bytes
/// (arena padding included).
template <class T>
struct FlatRange {
  T* value;
  const T* gradient;
  T* state[kMaxStates];
  T* average;             ///< moving average of the values, on GPUs alone; nullptr: none
  double average_weight;  ///< of the values in it (`AverageRule`)
  std::int64_t count;
};

/// Elementwise, hence the same bits for any number of threads. A gradient scale that is not finite in T leaves everything as
/// it is.
template <template <class> class Rule, class T>
void update_on_cpu(const Rule<T>& rule, const FlatRange<T>& range, double gradient_scale);

/// What is done to one stretch: a row of the table that a launch works through.
template <template <class> class Rule, class T>
struct FlatJob {
  FlatRange<T> range;
  std::int64_t first_block;  ///< of the launch: sum of `update_blocks` of the rows above
  Rule<T> rule;
};

/// Blocks of a launch that a stretch takes.
std::int64_t update_blocks(std::int64_t bytes);

/// All stretches of a table in one launch, asynchronous on `stream` (a cudaStream_t) of the current device, which has table
/// and gradient scale too: rules are applied unless the scale is not finite in T, then averages follow the values, whether
/// these moved or not. @param blocks of all rows
/// @throws NotBuiltError in a CPU build
template <template <class> class Rule, class T>
void update_on_gpu(const FlatJob<Rule, T>* jobs, int count, std::int64_t blocks, const double* gradient_scale,
                   void* stream);

/// From the norms of `count` parts of the gradients to the scale of an update, all of it on the GPU, which has the rule too;
/// `loss_scale` as in `find_scale`. Asynchronous on `stream`.
/// @throws NotBuiltError in a CPU build
void find_scale_on_gpu(const ScaleRule* rule, const double* norms, int count, LossScale* loss_scale,
                       ClipScale* found, void* stream);

/// Where launches of `add_squares_on_gpu`, one per arena, gather a norm. On the GPU, as all pointers below.
struct NormMemory {
  double* partial_sums;  ///< [blocks]
  unsigned* arrived;     ///< blocks that are done: 0 before the first launch, and after the last
  std::int64_t blocks;   ///< of all launches: sum of `norm_blocks`
};

/// What becomes of the norm: the scale of an update, or a number.
struct NormUse {
  const ScaleRule* rule;  ///< nullptr: `norm` is written
  LossScale* loss_scale;  ///< as in `find_scale`
  ClipScale* found;
  double* norm;
};

std::int64_t norm_blocks(std::int64_t bytes);

/// Adds the squares of one arena in float64; the block that comes last of all launches adds up the partial sums in the order
/// of the blocks, so that its bits depend on sizes alone, and uses the norm. Asynchronous on `stream`.
/// @param first_block sum of `norm_blocks` of the arenas before
/// @throws NotBuiltError in a CPU build
template <class T>
void add_squares_on_gpu(const T* values, std::int64_t count, const NormMemory& memory,
                        std::int64_t first_block, const NormUse& use, void* stream);

/// Sum of squares in float64, the same bits for any number of threads.
template <class T>
double sum_of_squares_on_cpu(const T* values, std::int64_t count);

}  // namespace bunchtrain::optim
