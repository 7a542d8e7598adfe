// SPDX-License-Identifier: Apache-2.0
#pragma once
/// SHA-256 (FIPS 180-4), for files that people prove with `sha256sum --check`.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace bunchtrain {

/// Over pieces. Not thread-safe.
class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  /// 64 hexadecimal digits of everything so far; more may follow.
  std::string hex() const;

 private:
  void add_block(const std::byte* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_ = {};
  std::uint64_t bytes_ = 0;
};

/// Of a whole file, read in pieces. @throws DataError if it cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace bunchtrain
