// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Slabs of the host that count what is done with them.

#include <atomic>
#include <functional>

#include "io/slab_memory.hpp"

namespace bunchtrain::data {

/// Aligned as slabs are, whatever size is asked for; knows how many there are.
class CountedSlabs final : public io::SlabMemory {
 public:
  std::byte* allocate(std::size_t bytes) override {
    if (none_left) return nullptr;
    ++slabs;
    return io::host_slab_memory().allocate((bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
  void release(std::byte* slab) noexcept override {
    --slabs;
    io::host_slab_memory().release(slab);
  }
  void copy(const std::byte* from, std::span<std::byte> out) override {
    ++copies;
    io::host_slab_memory().copy(from, out);
  }
  void fill(std::span<std::byte> out, const std::function<void(std::span<std::byte>)>& write) override {
    ++filled_by_host;
    write(out);
  }
  std::atomic<bool> none_left = false;
  std::atomic<int> slabs = 0, copies = 0, filled_by_host = 0;
};

}  // namespace bunchtrain::data
