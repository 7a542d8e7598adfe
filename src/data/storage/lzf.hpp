// SPDX-License-Identifier: Apache-2.0
#pragma once
/// LZF decompression, as h5py's filter 32000 stores chunks.

#include <cstddef>
#include <optional>
#include <span>

namespace bunchtrain::data {

/// Decompresses `stored` into `out`. @return the number of bytes written; nothing if `stored` is damaged (a
/// run or reference beyond its data) or holds more than `out`.
std::optional<std::size_t> decompress_lzf(std::span<const std::byte> stored,
                                          std::span<std::byte> out) noexcept;

}  // namespace bunchtrain::data
