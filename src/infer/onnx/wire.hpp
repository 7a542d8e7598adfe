// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Protobuf's wire format: fields with numbers, as varints, four bytes or lengths with bytes.

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::infer::onnx {

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

class WireWriter {
 public:
  void varint(int field, std::uint64_t value) {
    tag(field, Wire::varint);
    raw(value);
  }
  void bytes(int field, std::string_view value) {
    tag(field, Wire::bytes);
    raw(value.size());
    text_.append(value);
  }
  void number(int field, float value) {
    tag(field, Wire::fixed32);
    for (std::uint32_t bits = std::bit_cast<std::uint32_t>(value), i = 0; i < 4; ++i, bits >>= 8)
      text_.push_back(static_cast<char>(bits & 0xFF));
  }
  std::string take() { return std::move(text_); }

 private:
  void tag(int field, Wire wire) {
    raw(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire));
  }
  void raw(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_.push_back(static_cast<char>((value & 0x7F) | 0x80));
    text_.push_back(static_cast<char>(value));
  }

  std::string text_;
};

/// The fields of a message one after another. @throws DataError for bytes that are none.
class WireReader {
 public:
  explicit WireReader(std::string_view text) : text_(text) {}

  struct Field {
    int number = 0;
    Wire wire = Wire::varint;
    std::uint64_t value = 0;      ///< of varints and fixed numbers
    std::string_view bytes = {};  ///< of lengths

    float number_value() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
  };
  std::optional<Field> next() {
    if (text_.empty()) return std::nullopt;
    const std::uint64_t tag = varint();
    if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) throw DataError("a field has no number");
    Field field{.number = static_cast<int>(tag >> 3), .wire = static_cast<Wire>(tag & 7)};
    switch (field.wire) {
      case Wire::varint:
        field.value = varint();
        return field;
      case Wire::fixed64:
        field.value = fixed(8);
        return field;
      case Wire::fixed32:
        field.value = fixed(4);
        return field;
      case Wire::bytes: {
        const std::uint64_t size = varint();
        if (size > text_.size()) throw DataError("a field is longer than the file");
        field.bytes = text_.substr(0, size);
        text_.remove_prefix(size);
        return field;
      }
    }
    throw DataError("a field is of no known kind");
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (text_.empty()) throw DataError("it ends within a number");
      const auto byte = static_cast<unsigned char>(text_.front());
      text_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw DataError("a number has too many bytes");
  }
  std::uint64_t fixed(std::size_t size) {
    if (text_.size() < size) throw DataError("it ends within a number");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(text_[i])) << (8 * i);
    text_.remove_prefix(size);
    return value;
  }

  std::string_view text_;
};

}  // namespace bunchtrain::infer::onnx
