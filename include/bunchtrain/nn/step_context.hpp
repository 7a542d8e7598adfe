// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What keys the random numbers of a forward pass: (seed, step, sample ids), never the rank.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bunchtrain::nn {

/// Set for the duration of a training step on the current thread; dropout and noise layers read it (DESIGN
/// decision 5). Nest freely. Without one, layers fall back to a counter of their own (documented per layer).
class StepContext {
 public:
  /// @param sample_ids [B] int64 ids of the samples in this batch, unique over the dataset.
  /// @param step_in_memory one int64 that holds `step` where the network is, or undefined (`ops::RandomKey`).
  StepContext(std::uint64_t seed, std::int64_t step, at::Tensor sample_ids, at::Tensor step_in_memory = {});
  ~StepContext();
  StepContext(const StepContext&) = delete;
  StepContext& operator=(const StepContext&) = delete;

  /// The innermost context of this thread, or nullptr.
  static const StepContext* current() noexcept;
  std::uint64_t seed() const noexcept { return seed_; }
  std::int64_t step() const noexcept { return step_; }
  const at::Tensor& sample_ids() const noexcept { return sample_ids_; }
  const at::Tensor& step_in_memory() const noexcept { return step_in_memory_; }

 private:
  std::uint64_t seed_;
  std::int64_t step_;
  at::Tensor sample_ids_;
  at::Tensor step_in_memory_;
  const StepContext* outer_;
};

}  // namespace bunchtrain::nn
