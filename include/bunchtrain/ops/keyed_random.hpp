// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Random tensors whose row b is a pure function of (seed, step, sample b, site): the same
/// for any number of ranks.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bunchtrain::ops {

/// What keys random numbers besides the sample.
struct RandomKey {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::uint64_t site = 0;  ///< what the numbers are for: sites are independent
  /// One int64 that holds `step`. Kernels of its device read the step there, so that a launch that is replayed
  /// draws anew (`device::StepScalars`); elsewhere, and undefined, `step` counts.
  at::Tensor step_in_memory = {};
};

/// Standard normal numbers, a row for each sample.
///
/// @param sample_ids [B] of an integer dtype: ids of the samples, unique over the data set.
/// @return [B, columns] float32 where `sample_ids` are, without a wait for that device. A GPU's numbers are
/// the CPU's within one unit in the last place. Fewer columns are the first of more.
///
/// Not differentiable. Thread-safe. @throws NotBuiltError for ids on a GPU in a build without CUDA.
at::Tensor keyed_normal(const RandomKey& key, const at::Tensor& sample_ids, std::int64_t columns);
/// Uniform in [0, 1); the same bits on CPU and GPU. Otherwise as `keyed_normal`.
at::Tensor keyed_uniform(const RandomKey& key, const at::Tensor& sample_ids, std::int64_t columns);

}  // namespace bunchtrain::ops
