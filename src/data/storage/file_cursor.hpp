// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Structures of an HDF5 file read front to back; nothing in them is believed.

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "io/file_bytes.hpp"

namespace bunchtrain::data {

/// How the addresses of a file are to be read.
struct FileFormat {
  std::uint64_t base = 0;  ///< bytes of the userblock: addresses count from its end
  std::size_t address_bytes = 8;
  std::size_t length_bytes = 8;

  /// The address that means none.
  std::uint64_t undefined() const {
    return address_bytes == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * address_bytes) - 1;
  }
};

/// The structures do not make sense: the library is asked instead.
struct Unreadable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A piece of the file. @throws Unreadable beyond its end
class FileCursor {
 public:
  static constexpr std::uint64_t kLargestBlock = std::uint64_t{1} << 24;

  FileCursor(const FileBytes& file, std::uint64_t offset, std::uint64_t size) {
    if (size > kLargestBlock || offset > file.size() || size > file.size() - offset)
      throw Unreadable("beyond the file");
    bytes_.resize(size);
    file.read(offset, bytes_);
  }

  std::size_t left() const { return bytes_.size() - at_; }
  void skip(std::size_t count) {
    if (count > left()) throw Unreadable("beyond a block");
    at_ += count;
  }
  /// Little-endian. @pre at most 8 bytes
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    const std::size_t begin = at_;
    skip(bytes);
    for (std::size_t i = bytes; i-- > 0;)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes_[begin + i]);
    return value;
  }
  void expect(std::string_view signature) {
    const std::size_t begin = at_;
    skip(signature.size());
    if (std::memcmp(bytes_.data() + begin, signature.data(), signature.size()) != 0)
      throw Unreadable("no signature");
  }
  /// Bits as HDF5 keeps them, the highest of a byte first.
  std::vector<bool> bits(std::size_t bytes) {
    std::vector<bool> all;
    all.reserve(8 * bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
      const auto byte = number(1);
      for (int bit = 7; bit >= 0; --bit) all.push_back((byte >> bit & 1) != 0);
    }
    return all;
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace bunchtrain::data
