// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Columns of numbers as bytes, for another process of the same machine and program.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace bunchtrain::data {

/// Appends the bytes of a column to those of the columns before it.
template <class T>
void put_column(std::string& bytes, const std::vector<T>& column) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::uint64_t count = column.size();
  bytes.append(reinterpret_cast<const char*>(&count), sizeof(count));
  bytes.append(reinterpret_cast<const char*>(column.data()), count * sizeof(T));
}

/// Takes a column off the front of `bytes`. False, and nothing is taken, unless it has as many numbers as
/// `column` has already.
template <class T>
[[nodiscard]] bool take_column(std::string_view& bytes, std::vector<T>& column) {
  std::uint64_t count = 0;
  const std::size_t size = column.size() * sizeof(T);
  if (bytes.size() < sizeof(count) + size) return false;
  std::memcpy(&count, bytes.data(), sizeof(count));
  if (count != column.size()) return false;
  if (size > 0) std::memcpy(column.data(), bytes.data() + sizeof(count), size);
  bytes.remove_prefix(sizeof(count) + size);
  return true;
}

}  // namespace bunchtrain::data
