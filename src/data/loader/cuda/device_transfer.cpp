// SPDX-License-Identifier: Apache-2.0
#include "../device_transfer.hpp"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>

#include "../recycled_tensors.hpp"
#include "bunchtrain/device/detail/memory_node.hpp"

namespace bunchtrain::data {

struct DeviceTransfer::Impl {
  c10::Device device;
  std::optional<c10::cuda::CUDAStream> copy_stream;  // none on the CPU
  std::optional<int> node;                           // of the memory beside the GPU
  RecycledTensors memory;                            // of batches that stay on the CPU
};

DeviceTransfer::DeviceTransfer(c10::Device device)
    : impl_(std::make_unique<Impl>(Impl{device, std::nullopt, std::nullopt, RecycledTensors()})) {
  if (!device.is_cuda()) return;
  impl_->copy_stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
  impl_->node = device::memory_node_of_gpu(impl_->copy_stream->device_index());
}

DeviceTransfer::~DeviceTransfer() = default;

std::optional<int> DeviceTransfer::memory_node() const { return impl_->node; }

at::Tensor DeviceTransfer::allocate(at::IntArrayRef sizes, at::ScalarType type) const {
  if (!impl_->copy_stream) return impl_->memory.empty(sizes, type);
  const device::OnMemoryNode beside_the_gpu(impl_->node);
  return at::empty(sizes, at::TensorOptions().dtype(type).pinned_memory(true));
}

DeviceTransfer::Pending DeviceTransfer::start(NamedTensors host,
                                              const std::function<void(NamedTensors&)>& then) const {
  if (!impl_->copy_stream) {
    if (then) then(host);
    return {.tensors = std::move(host), .done = nullptr};
  }
  const c10::cuda::CUDAStreamGuard guard(*impl_->copy_stream);
  Pending pending;
  for (const auto& [name, tensor] : host)
    pending.tensors.set(name, tensor.to(impl_->device, tensor.scalar_type(), /*non_blocking=*/true));
  if (then) then(pending.tensors);
  auto copied = std::make_shared<at::cuda::CUDAEvent>();
  copied->record(*impl_->copy_stream);
  pending.done = std::move(copied);
  return pending;
}

void DeviceTransfer::run(const std::function<void()>& action) const {
  const c10::cuda::OptionalCUDAStreamGuard guard(impl_->copy_stream);
  action();
}

NamedTensors DeviceTransfer::finish(Pending pending) const {
  if (!pending.done) return std::move(pending.tensors);
  const auto current = c10::cuda::getCurrentCUDAStream(impl_->device.index());
  std::static_pointer_cast<at::cuda::CUDAEvent>(pending.done)->block(current);
  for (const auto& [name, tensor] : pending.tensors)
    c10::cuda::CUDACachingAllocator::recordStream(tensor.storage().data_ptr(), current);
  return std::move(pending.tensors);
}

}  // namespace bunchtrain::data
