// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Memory for tensors that come and go in the same few sizes.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>

namespace bunchtrain::data {

/// Gives tensors out of memory that earlier ones have left: fresh pages of the system cost a loader more than
/// filling them. Tensors may outlive it. Thread-safe.
class RecycledTensors {
 public:
  /// @param most_idle_bytes what lies ready for later tensors at most
  explicit RecycledTensors(std::size_t most_idle_bytes = std::size_t{64} << 20);

  /// On the CPU, with whatever was in the memory.
  at::Tensor empty(at::IntArrayRef sizes, at::ScalarType type) const;
  std::size_t idle_bytes() const;

 private:
  struct Store;
  std::shared_ptr<Store> store_;
};

}  // namespace bunchtrain::data
