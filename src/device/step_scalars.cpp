// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/step_scalars.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "stream_event.hpp"

namespace bunchtrain::device {
namespace {

/// Steps that a host may be ahead of its GPU before it waits for a mirror.
constexpr std::size_t kMirrors = 4;
constexpr std::size_t kFirstBytes = 1024;

/// Page-locked memory whose copy to the device may still be under way.
struct Mirror {
  at::Tensor bytes = {};
  std::optional<StreamEvent> copied = {};
};

std::byte* begin_of(const at::Tensor& bytes) { return static_cast<std::byte*>(bytes.mutable_data_ptr()); }

}  // namespace

struct StepScalars::Impl {
  c10::Device device;
  at::Tensor host = {};       ///< what is set; on the CPU what kernels read, too
  at::Tensor on_device = {};  ///< `host` itself on the CPU
  std::array<Mirror, kMirrors> mirrors = {};
  std::size_t used = 0;
  std::size_t next_mirror = 0;
  bool changed = false;
  std::int64_t uploads = 0;

  std::size_t capacity() const { return host.defined() ? host.nbytes() : 0; }

  /// Kernels that read the old memory may not be done: it is given back by the stream's order.
  void grow(std::size_t needed) {
    std::size_t bytes = std::max(kFirstBytes, capacity());
    while (bytes < needed) bytes *= 2;
    const auto size = static_cast<std::int64_t>(bytes);
    at::Tensor wider = at::zeros({size}, at::kByte);
    if (used > 0) std::memcpy(begin_of(wider), begin_of(host), used);
    host = wider;
    on_device = device.is_cpu() ? host : at::empty({size}, host.options().device(device));
    mirrors = {};
    changed = true;
  }

  void copy_to_device() {
    Mirror& mirror = mirrors[std::exchange(next_mirror, (next_mirror + 1) % kMirrors)];
    if (mirror.copied) mirror.copied->wait();
    if (!mirror.bytes.defined()) mirror.bytes = at::empty({host.numel()}, host.options().pinned_memory(true));
    std::memcpy(begin_of(mirror.bytes), begin_of(host), used);
    const auto size = static_cast<std::int64_t>(used);
    const c10::DeviceGuard guard(device);
    on_device.narrow(0, 0, size).copy_(mirror.bytes.narrow(0, 0, size), /*non_blocking=*/true);
    mirror.copied.emplace(device, StreamEvent::Kind::order);
  }
};

StepScalars::StepScalars(c10::Device device) : impl_(std::make_unique<Impl>(Impl{.device = device})) {}
StepScalars::~StepScalars() = default;
StepScalars::StepScalars(StepScalars&&) noexcept = default;
StepScalars& StepScalars::operator=(StepScalars&&) noexcept = default;

void StepScalars::upload() {
  if (!std::exchange(impl_->changed, false)) return;
  impl_->uploads += 1;
  if (!impl_->device.is_cpu()) impl_->copy_to_device();
}

std::int64_t StepScalars::uploads() const noexcept { return impl_->uploads; }
c10::Device StepScalars::device() const noexcept { return impl_->device; }

std::size_t StepScalars::add_bytes(std::size_t bytes) {
  const std::size_t offset = impl_->used;
  const std::size_t end = offset + (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (end > impl_->capacity()) impl_->grow(end);
  impl_->used = end;
  impl_->changed = true;
  return offset;
}

void StepScalars::set_bytes(std::size_t offset, const void* value, std::size_t bytes) {
  expects(offset + bytes <= impl_->used, "a slot of other StepScalars was set");
  std::byte* const place = begin_of(impl_->host) + offset;
  if (std::memcmp(place, value, bytes) == 0) return;
  std::memcpy(place, value, bytes);
  impl_->changed = true;
}

void StepScalars::get_bytes(std::size_t offset, void* value, std::size_t bytes) const {
  expects(offset + bytes <= impl_->used, "a slot of other StepScalars was asked for");
  std::memcpy(value, begin_of(impl_->host) + offset, bytes);
}

const std::byte* StepScalars::address_of(std::size_t offset) const {
  return static_cast<const std::byte*>(impl_->on_device.const_data_ptr()) + offset;
}

at::Tensor StepScalars::view_of(std::size_t offset, std::size_t bytes, at::ScalarType type) const {
  return impl_->on_device.narrow(0, static_cast<std::int64_t>(offset), static_cast<std::int64_t>(bytes))
      .view(type);
}

}  // namespace bunchtrain::device
