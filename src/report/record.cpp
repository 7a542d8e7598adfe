// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/record.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::report {
namespace {

using Json = nlohmann::ordered_json;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool is_number_or_null(const Json& json) { return json.is_number() || json.is_null(); }

double to_number(const Json& json) { return json.is_null() ? kNaN : json.get<double>(); }

// Nothing for what a record cannot hold: nested objects, lists of anything but numbers.
std::optional<Value> to_value(const Json& json) {
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (is_number_or_null(json)) return to_number(json);
  if (json.is_boolean()) return std::int64_t{json.get<bool>()};
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_array() || !std::all_of(json.begin(), json.end(), is_number_or_null)) return std::nullopt;
  std::vector<double> numbers;
  numbers.reserve(json.size());
  for (const Json& item : json) numbers.push_back(to_number(item));
  return numbers;
}

}  // namespace

const Value* find(const Record& record, std::string_view name) noexcept {
  const auto found =
      std::find_if(record.begin(), record.end(), [&](const Field& f) { return f.name == name; });
  return found == record.end() ? nullptr : &found->value;
}

double number(const Record& record, std::string_view name) noexcept {
  const Value* value = find(record, name);
  if (!value) return kNaN;
  if (const auto* integer = std::get_if<std::int64_t>(value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(value)) return *real;
  return kNaN;
}

std::string text(const Record& record, std::string_view name) {
  const Value* value = find(record, name);
  const auto* found = value ? std::get_if<std::string>(value) : nullptr;
  return found ? *found : std::string();
}

std::string to_json(const Record& record) {
  Json json = Json::object();
  for (const Field& field : record) {
    std::visit([&](const auto& value) { json.emplace(field.name, value); }, field.value);
  }
  // Text that is not UTF-8 (a file name, say) must not stop a training: its bytes are replaced.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Record parse_record(std::string_view line) {
  Json json;
  try {
    json = Json::parse(line);
  } catch (const Json::exception& error) {
    throw DataError(std::string("not a line of JSON: ") + error.what());
  }
  if (!json.is_object()) throw DataError("a record must be a JSON object, {\"name\": value, ...}");
  Record record;
  for (const auto& [name, item] : json.items()) {
    if (auto value = to_value(item)) record.push_back({name, std::move(*value)});
  }
  return record;
}

}  // namespace bunchtrain::report
