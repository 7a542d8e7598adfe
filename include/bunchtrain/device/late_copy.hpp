// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers of a device on their way to the host, for losses and norms: who starts them in one step and reads
/// them in the next never waits.

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>

namespace bunchtrain::device {

class StreamEvent;

/// A copy of a small tensor in float64. On the CPU it is made at once. On a GPU it is enqueued on the current
/// stream of the tensor's device, behind the work that makes the numbers; the tensor may be changed or freed
/// as soon as the constructor returns. Copies of it share the numbers. Not thread-safe.
class LateCopy {
 public:
  /// No numbers, ready.
  LateCopy() = default;
  /// @param numbers of any shape, taken in row-major order, with or without a graph
  explicit LateCopy(const at::Tensor& numbers);

  /// Whether `values` returns without waiting.
  bool ready() const;
  bool empty() const noexcept { return !host_.defined(); }
  /// Waits until the numbers have arrived. They live as long as this object or a copy of it.
  std::span<const double> values() const;

 private:
  at::Tensor host_;                            ///< [N] float64, page-locked if it comes from a GPU
  std::shared_ptr<const StreamEvent> copied_;  ///< null: it is there
};

}  // namespace bunchtrain::device
