// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Reads event files back, written without a look at the writer.

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace bunchtrain::report {

/// Bit by bit, unlike the writer's table.
inline std::uint32_t slow_crc32c(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (unsigned char byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool carry = (crc ^ (byte >> bit)) & 1;
      crc = (crc >> 1) ^ (carry ? 0x82F63B78u : 0u);
    }
  }
  return ~crc;
}

inline std::uint32_t slow_masked_crc(const std::string& bytes) {
  const std::uint32_t crc = slow_crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

/// A message: field number to the raw contents of each occurrence.
using Message = std::map<int, std::vector<std::string>>;

inline std::uint64_t read_varint(const std::string& bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(at++));
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
}

/// Varints come back as 8 little-endian bytes.
inline Message parse_message(const std::string& bytes) {
  Message message;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::uint64_t key = read_varint(bytes, at);
    std::size_t length = 0;
    std::string content;
    switch (key & 7) {
      case 0: {
        const std::uint64_t value = read_varint(bytes, at);
        content.assign(reinterpret_cast<const char*>(&value), 8);
        break;
      }
      case 1:
        length = 8;
        break;
      case 2:
        length = read_varint(bytes, at);
        break;
      case 5:
        length = 4;
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
    if (at + length > bytes.size()) throw std::runtime_error("a field ends behind its message");
    if ((key & 7) != 0) content = bytes.substr(at, length);
    at += length;
    message[static_cast<int>(key >> 3)].push_back(content);
  }
  return message;
}

template <class T>
T as(const std::string& bytes) {
  if (bytes.size() != sizeof(T)) throw std::runtime_error("a field has the wrong size");
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// The events of a file; throws if a length or checksum is wrong.
inline std::vector<Message> parse_events(const std::string& file) {
  std::vector<Message> events;
  for (std::size_t at = 0; at < file.size();) {
    const std::string length_bytes = file.substr(at, 8);
    const auto length = as<std::uint64_t>(length_bytes);
    if (as<std::uint32_t>(file.substr(at + 8, 4)) != slow_masked_crc(length_bytes))
      throw std::runtime_error("length checksum");
    const std::string event = file.substr(at + 12, length);
    if (as<std::uint32_t>(file.substr(at + 12 + length, 4)) != slow_masked_crc(event))
      throw std::runtime_error("data checksum");
    events.push_back(parse_message(event));
    at += 16 + length;
  }
  return events;
}

}  // namespace bunchtrain::report
