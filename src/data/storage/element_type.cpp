// SPDX-License-Identifier: Apache-2.0
#include "element_type.hpp"

#include <c10/util/Half.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "hdf5_library.hpp"

namespace bunchtrain::data {
namespace {

// HDF5 can describe any floating format; only the IEEE ones are ours.
bool is_ieee(hid_t type, std::size_t bytes) {
  struct Format {
    std::size_t bytes, sign, exponent, exponent_bits, mantissa_bits, bias;
  };
  constexpr std::array kFormats = {Format{2, 15, 10, 5, 10, 15}, Format{4, 31, 23, 8, 23, 127},
                                   Format{8, 63, 52, 11, 52, 1023}};
  std::size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
  if (H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) < 0) return false;
  return std::any_of(kFormats.begin(), kFormats.end(), [&](const Format& f) {
    return f.bytes == bytes && f.sign == sign && f.exponent == exponent && f.exponent_bits == exponent_bits &&
           f.mantissa_bits == mantissa_bits && mantissa == 0 && f.bias == H5Tget_ebias(type);
  });
}

template <class Stored, bool Swap>
Stored load(const std::byte* bytes) {
  std::array<std::byte, sizeof(Stored)> raw;
  std::memcpy(raw.data(), bytes, sizeof(Stored));
  if constexpr (Swap) std::reverse(raw.begin(), raw.end());
  Stored value;
  std::memcpy(&value, raw.data(), sizeof(Stored));
  return value;
}

template <class Stored, bool Swap, class Out>
void widen_as(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, Out* out) {
  for (std::size_t row = 0; row < rows; ++row) {
    const std::byte* source = bytes + row * column.row_bytes + column.offset;
    for (std::size_t slot = 0; slot < column.slots; ++slot, source += column.slot_bytes)
      *out++ = static_cast<Out>(load<Stored, Swap>(source));
  }
}

template <class Stored, class Out>
void widen_from(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, Out* out) {
  if (column.type.big_endian && sizeof(Stored) > 1) {
    widen_as<Stored, true>(column, bytes, rows, out);
  } else {
    widen_as<Stored, false>(column, bytes, rows, out);
  }
}

template <class Out>
void widen_any(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, Out* out) {
  using Kind = ElementType::Kind;
  const bool is_signed = column.type.kind == Kind::signed_integer;
  if (column.type.kind == Kind::floating) {
    switch (column.type.bytes) {
      case 2:
        return widen_from<c10::Half>(column, bytes, rows, out);
      case 4:
        return widen_from<float>(column, bytes, rows, out);
      default:
        return widen_from<double>(column, bytes, rows, out);
    }
  }
  switch (column.type.bytes) {
    case 1:
      return is_signed ? widen_from<std::int8_t>(column, bytes, rows, out)
                       : widen_from<std::uint8_t>(column, bytes, rows, out);
    case 2:
      return is_signed ? widen_from<std::int16_t>(column, bytes, rows, out)
                       : widen_from<std::uint16_t>(column, bytes, rows, out);
    case 4:
      return is_signed ? widen_from<std::int32_t>(column, bytes, rows, out)
                       : widen_from<std::uint32_t>(column, bytes, rows, out);
    default:
      return is_signed ? widen_from<std::int64_t>(column, bytes, rows, out)
                       : widen_from<std::uint64_t>(column, bytes, rows, out);
  }
}

}  // namespace

std::optional<ElementType> to_element_type(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_ENUM) {
    const hdf5::Datatype base(H5Tget_super(type));
    return base ? to_element_type(base.get()) : std::nullopt;
  }
  ElementType element;
  element.bytes = H5Tget_size(type);
  element.big_endian = H5Tget_order(type) == H5T_ORDER_BE;
  if (kind == H5T_FLOAT) {
    if (!is_ieee(type, element.bytes)) return std::nullopt;
    return element;
  }
  constexpr std::array<std::size_t, 4> kSizes = {1, 2, 4, 8};
  const bool plain = std::find(kSizes.begin(), kSizes.end(), element.bytes) != kSizes.end() &&
                     H5Tget_precision(type) == 8 * element.bytes;
  if (!plain || (kind != H5T_INTEGER && kind != H5T_BITFIELD)) return std::nullopt;
  const bool is_signed = kind == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_2;
  element.kind = is_signed ? ElementType::Kind::signed_integer : ElementType::Kind::unsigned_integer;
  return element;
}

std::string to_string(const ElementType& type) {
  using Kind = ElementType::Kind;
  const auto name = type.kind == Kind::floating         ? "float"
                    : type.kind == Kind::signed_integer ? "int"
                                                        : "uint";
  return fmt::format("{}{}{}", type.big_endian && type.bytes > 1 ? "big-endian " : "", name, 8 * type.bytes);
}

ops::detail::StoredColumn as_stored(const ColumnLayout& column) {
  const auto number = [](std::size_t value) { return static_cast<std::int64_t>(value); };
  using Kind = ElementType::Kind;
  using Stored = ops::detail::StoredKind;
  const Kind kind = column.type.kind;
  return {.kind = kind == Kind::floating         ? Stored::floating
                  : kind == Kind::signed_integer ? Stored::signed_integer
                                                 : Stored::unsigned_integer,
          .big_endian = column.type.big_endian,
          .bytes = number(column.type.bytes),
          .row_bytes = number(column.row_bytes),
          .offset = number(column.offset),
          .slot_bytes = number(column.slot_bytes),
          .slots = number(column.slots)};
}

void widen(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, float* out) {
  widen_any(column, bytes, rows, out);
}

void widen(const ColumnLayout& column, const std::byte* bytes, std::size_t rows, double* out) {
  widen_any(column, bytes, rows, out);
}

}  // namespace bunchtrain::data
