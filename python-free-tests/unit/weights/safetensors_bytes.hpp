// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Builds safetensors files byte by byte, right or wrong ones.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::weights {

inline std::vector<std::byte> to_bytes(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) bytes[i] = static_cast<std::byte>(text[i]);
  return bytes;
}

/// A file with this header, `claimed` as its length, and `data_bytes` zero bytes of data.
inline std::vector<std::byte> make_file(std::string_view header, std::size_t data_bytes,
                                        std::uint64_t claimed) {
  std::string text;
  for (int i = 0; i < 8; ++i) text.push_back(static_cast<char>(claimed >> (8 * i)));
  text += header;
  text.append(data_bytes, '\0');
  return to_bytes(text);
}
inline std::vector<std::byte> make_file(std::string_view header, std::size_t data_bytes) {
  return make_file(header, data_bytes, header.size());
}

}  // namespace bunchtrain::weights
