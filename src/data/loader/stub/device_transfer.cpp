// SPDX-License-Identifier: Apache-2.0
#include "../device_transfer.hpp"

#include "../recycled_tensors.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

struct DeviceTransfer::Impl {
  RecycledTensors memory;
};

DeviceTransfer::DeviceTransfer(c10::Device device) : impl_(std::make_unique<Impl>()) {
  if (!device.is_cpu()) throw NotBuiltError("loading data to a GPU", "BUNCHTRAIN_CUDA");
}

DeviceTransfer::~DeviceTransfer() = default;

std::optional<int> DeviceTransfer::memory_node() const { return std::nullopt; }

at::Tensor DeviceTransfer::allocate(at::IntArrayRef sizes, at::ScalarType type) const {
  return impl_->memory.empty(sizes, type);
}

DeviceTransfer::Pending DeviceTransfer::start(NamedTensors host,
                                              const std::function<void(NamedTensors&)>& then) const {
  if (then) then(host);
  return {.tensors = std::move(host), .done = nullptr};
}

void DeviceTransfer::run(const std::function<void()>& action) const { action(); }

NamedTensors DeviceTransfer::finish(Pending pending) const { return std::move(pending.tensors); }

}  // namespace bunchtrain::data
