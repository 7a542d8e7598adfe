// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One line of metrics.jsonl: named values in a fixed order.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bunchtrain::report {

/// What a record can hold. NaN and infinities are written as null and read back as NaN.
using Value = std::variant<std::int64_t, double, std::string, std::vector<double>>;

/// A name with its value.
struct Field {
  std::string name;
  Value value;
};

/// Named values in the order in which they are written. Names should be unique; the first one counts.
using Record = std::vector<Field>;

/// nullptr if the record has no such field.
const Value* find(const Record& record, std::string_view name) noexcept;
/// An integer or real field as a number; NaN if it is absent or not a number.
double number(const Record& record, std::string_view name) noexcept;
/// A text field; empty if it is absent or not a text.
std::string text(const Record& record, std::string_view name);

/// One line of JSON without the line end. Reals are written with as many digits as
/// read back to the same bits.
std::string to_json(const Record& record);
/// Reads one line back. Nested objects and null fields are accepted: objects are left out, null becomes NaN.
/// @throws DataError if it is not a JSON object, naming the place.
Record parse_record(std::string_view json);

}  // namespace bunchtrain::report
