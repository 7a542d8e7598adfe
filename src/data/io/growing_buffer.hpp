// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Memory that is used again and again.

#include <cstddef>
#include <span>
#include <vector>

namespace bunchtrain::data {

/// A buffer that only grows and is never cleared. Not thread-safe.
class GrowingBuffer {
 public:
  /// `size` bytes with whatever was in them. Invalidates what was given before.
  std::span<std::byte> take(std::size_t size) {
    if (size > bytes_.size()) bytes_.resize(size + size / 4);
    return std::span(bytes_).first(size);
  }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace bunchtrain::data
