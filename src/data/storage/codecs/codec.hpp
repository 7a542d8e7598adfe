// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Compressions of HDF5's filter registry whose libraries may be missing in a build.

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace bunchtrain::data {

/// One of them. All functions are thread-safe.
struct Codec {
  int filter;                ///< number in the HDF5 registry
  std::string_view name;     ///< "zstd"
  std::string_view package;  ///< the Debian package that bunchtrain needs when it is built
  /// Whether this build has the library; without it the functions are null.
  bool is_built;
  /// Fills `out` from the front; the bytes written, or nothing if `stored` is damaged or has more of them. Counts
  /// in `stored` are believed only as far as it and `out` reach; nothing is allocated by them.
  std::optional<std::size_t> (*decompress)(std::span<const std::byte> stored, std::span<std::byte> out);
  /// What the registered filter would store; null if we never write it.
  std::vector<std::byte> (*compress)(std::span<const std::byte> bytes);
};

const Codec& zstd_codec() noexcept;
const Codec& lz4_codec() noexcept;
const Codec& blosc_codec() noexcept;

/// The codec of a filter; null if it is of none of them.
const Codec* find_codec(int filter) noexcept;

}  // namespace bunchtrain::data
