// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Memory of a device for the bytes of ranges that are being decoded, used again.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "io/slab_memory.hpp"

namespace bunchtrain::data {

/// As many slabs as are in use at once, each as large as the largest range that it has held. Thread-safe.
class DeviceSlabs {
 public:
  explicit DeviceSlabs(io::SlabMemory& memory) : memory_(&memory) {}
  ~DeviceSlabs() {
    for (const auto slab : idle_) memory_->release(slab.data());
  }
  DeviceSlabs(const DeviceSlabs&) = delete;
  DeviceSlabs& operator=(const DeviceSlabs&) = delete;

  /// A slab, given back at the end. @pre nothing on the device reads it any more by then
  class Use {
   public:
    Use(DeviceSlabs& slabs, std::size_t bytes) : slabs_(slabs), slab_(slabs.take(bytes)), bytes_(bytes) {}
    ~Use() { slabs_.give_back(slab_); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    std::span<std::byte> bytes() const noexcept { return slab_.first(bytes_); }

   private:
    DeviceSlabs& slabs_;
    std::span<std::byte> slab_;
    std::size_t bytes_;
  };

 private:
  std::span<std::byte> take(std::size_t bytes) {
    std::span<std::byte> smaller;
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) smaller = idle_.back(), idle_.pop_back();
    }
    if (smaller.size() >= bytes) return smaller;
    if (!smaller.empty()) memory_->release(smaller.data());
    const std::size_t size = std::bit_ceil(std::max(bytes, io::SlabMemory::kAlignment));
    std::byte* slab = memory_->allocate(size);
    if (slab == nullptr)
      throw DeviceError("the GPU has no " + std::to_string(size) +
                        " bytes left for the bytes of files; make batches smaller, or let the host decode: " +
                        setting("decode", "host"));
    return {slab, size};
  }
  void give_back(std::span<std::byte> slab) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(slab);
  }

  io::SlabMemory* memory_;
  std::mutex mutex_;
  std::vector<std::span<std::byte>> idle_;
};

}  // namespace bunchtrain::data
