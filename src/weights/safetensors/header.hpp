// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The JSON header of a safetensors file: read without trust, checked against the size
/// of the data, and written.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/weights/safetensors_file.hpp"

namespace bunchtrain::weights::detail {

/// Longest header that is read, as in the reference implementation.
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
/// Length of the little-endian count in front of the header.
inline constexpr std::uint64_t kPrefixBytes = 8;

struct Header {
  std::vector<TensorEntry> entries;  ///< in the order of the file's header
  std::map<std::string, std::string> metadata;
};

/// Header length from the first eight bytes of a file of `file_bytes` bytes.
/// @throws CheckpointError if the file is too short for it or it exceeds `kMaxHeaderBytes`.
std::uint64_t read_header_length(std::span<const std::byte> prefix, std::uint64_t file_bytes,
                                 std::string_view origin);

/// Parses and checks a header for a file that holds `data_bytes` bytes behind it.
/// @throws CheckpointError naming the tensor and the fault.
Header parse_header(std::string_view json, std::uint64_t data_bytes, std::string_view origin);

/// Bytes of a tensor; nothing if the count does not fit 63 bits. Sizes after a zero count too, as strides are
/// made of them.
std::optional<std::uint64_t> byte_count(const TensorEntry& entry);

/// The header for `header.entries` (offsets set by the caller), padded with spaces so that the
/// data starts 8-byte aligned.
/// @throws CheckpointError if a name or a metadata text is not UTF-8.
std::string format_header(const Header& header, std::string_view origin);

}  // namespace bunchtrain::weights::detail
