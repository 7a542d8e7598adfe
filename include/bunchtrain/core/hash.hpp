// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Checksums for files and fingerprints (XXH3-128): integrity, not security.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bunchtrain {

/// 32 hexadecimal digits of the XXH3-128 of `bytes`.
std::string hash_hex(std::span<const std::byte> bytes);
std::string hash_hex(std::string_view text);
/// The same for a whole file, read in pieces. @throws DataError if it cannot be read; IoError.
std::string hash_file(const std::filesystem::path& path);

/// XXH3-128 over pieces. Not thread-safe.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void update(std::span<const std::byte> bytes);
  /// 32 hexadecimal digits of everything so far; more may follow.
  std::string hex() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain
