// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Memory that an engine reads into before bytes are put where they are wanted: of the host, or of a device.

#include <cstddef>
#include <functional>
#include <span>

namespace bunchtrain::data::io {

/// Thread-safe.
class SlabMemory {
 public:
  static constexpr std::size_t kAlignment = 4096;

  virtual ~SlabMemory() = default;
  /// Aligned; null if there is none left.
  virtual std::byte* allocate(std::size_t bytes) = 0;
  /// Of what `allocate` gave. @pre nothing reads into it any more
  virtual void release(std::byte* slab) noexcept = 0;
  /// Fills `out`, which is of the same memory, with bytes of a slab, and waits for it.
  virtual void copy(const std::byte* from, std::span<std::byte> out) = 0;
  /// Lets the host write to `out`, and waits until it is there.
  virtual void fill(std::span<std::byte> out, const std::function<void(std::span<std::byte>)>& write) {
    write(out);
  }
};

/// Pages of the host.
SlabMemory& host_slab_memory();

}  // namespace bunchtrain::data::io
