// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Brings finished batches to the device: pinned staging and a copy stream with a GPU,
/// nothing at all on the CPU.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <optional>

#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::data {

/// Copies run on a stream of their own, so that they overlap with training. Implemented in cuda/ and in
/// stub/. `allocate` and `start` may be called from any thread, `finish` from the thread that computes.
class DeviceTransfer {
 public:
  /// A copy under way. The staging memory belongs to LibTorch's pinned pool, which
  /// reuses it only after the copy.
  struct Pending {
    NamedTensors tensors;        ///< on the device; not yet readable there
    std::shared_ptr<void> done;  ///< what `finish` waits for
  };

  /// @throws NotBuiltError for a GPU in a build without CUDA.
  explicit DeviceTransfer(c10::Device device);
  ~DeviceTransfer();
  DeviceTransfer(const DeviceTransfer&) = delete;
  DeviceTransfer& operator=(const DeviceTransfer&) = delete;

  /// Where what `allocate` gives lies; nothing on a machine of one node, and without a GPU.
  std::optional<int> memory_node() const;
  /// Host memory to fill: pinned if the device is a GPU, and on its NUMA node where there are several.
  at::Tensor allocate(at::IntArrayRef sizes, at::ScalarType type) const;
  /// @param then enqueues more on the stream of the copy, which makes of the copied tensors those of the batch
  Pending start(NamedTensors host, const std::function<void(NamedTensors&)>& then = {}) const;
  /// Runs `action` with the stream of the copies as the current one.
  void run(const std::function<void()>& action) const;
  /// Makes the current stream wait for the copy (the host does not) and hands the tensors to that stream.
  NamedTensors finish(Pending pending) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
