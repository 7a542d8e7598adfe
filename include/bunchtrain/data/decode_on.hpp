// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Whether samples are made of bytes by the host or by the GPU that trains.

#include <string_view>

namespace bunchtrain::data {

enum class DecodeOn {
  automatic,  ///< the host, until decoding on a GPU has been measured
  host,
  device,  ///< kernels on the loader's GPU, from bytes that are copied there as they are stored, or read there by cuFile
};

/// "auto", "host", "device".
std::string_view to_string(DecodeOn where) noexcept;
/// @throws ConfigError with the names allowed.
DecodeOn parse_decode_on(std::string_view text);

}  // namespace bunchtrain::data
