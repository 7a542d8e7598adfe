// SPDX-License-Identifier: Apache-2.0
// The format of liblzf: a control byte below 32 is followed by that many bytes and one more, to be copied.
// Any other refers back: its upper three bits are a length, where 7 is followed by a byte to be added; the
// lower five and the next byte a distance. Two bytes more than the length are copied from there, and the copy
// may run into what it has just written.
#include "lzf.hpp"

#include <algorithm>
#include <cstring>

namespace bunchtrain::data {
namespace {

constexpr unsigned kFirstReference = 32;
constexpr unsigned kLongest = 7;

struct Reference {
  std::size_t distance, length;
};

// What has been read and written so far.
struct Progress {
  std::span<const std::byte> in;
  std::span<std::byte> out;
  std::size_t read = 0, written = 0;

  std::size_t left() const { return in.size() - read; }
  std::size_t room() const { return out.size() - written; }
  std::size_t next() { return std::to_integer<std::size_t>(in[read++]); }

  bool copy_literal(std::size_t count) {
    if (count > left() || count > room()) return false;
    std::memcpy(out.data() + written, in.data() + read, count);
    read += count;
    written += count;
    return true;
  }

  bool copy_back(const Reference& reference) {
    if (reference.distance > written || reference.length > room()) return false;
    std::byte* target = out.data() + written;
    const std::byte* source = target - reference.distance;
    if (reference.distance >= reference.length) {
      std::memcpy(target, source, reference.length);
    } else {
      for (std::size_t i = 0; i < reference.length; ++i) target[i] = source[i];
    }
    written += reference.length;
    return true;
  }

  std::optional<Reference> read_reference(std::size_t control) {
    std::size_t length = control >> 5;
    if (left() < (length == kLongest ? 2U : 1U)) return std::nullopt;
    if (length == kLongest) length += next();
    const std::size_t distance = (control & 31) << 8 | next();
    return Reference{distance + 1, length + 2};
  }
};

}  // namespace

std::optional<std::size_t> decompress_lzf(std::span<const std::byte> stored,
                                          std::span<std::byte> out) noexcept {
  Progress progress{.in = stored, .out = out};
  while (progress.left() > 0) {
    const std::size_t control = progress.next();
    if (control < kFirstReference) {
      if (!progress.copy_literal(control + 1)) return std::nullopt;
      continue;
    }
    const auto reference = progress.read_reference(control);
    if (!reference || !progress.copy_back(*reference)) return std::nullopt;
  }
  return progress.written;
}

}  // namespace bunchtrain::data
