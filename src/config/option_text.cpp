// SPDX-License-Identifier: Apache-2.0
#include "option_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::config {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n')
      result += "\\n";
    else
      result += c;
  }
  return result + '"';
}

std::string real_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::vector<std::string> split_at_commas(const std::vector<std::string>& pieces) {
  std::vector<std::string> names;
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      const std::size_t comma = std::min(piece.find(','), piece.size());
      if (comma > 0) names.emplace_back(piece.substr(0, comma));
      piece.remove_prefix(std::min(comma + 1, piece.size()));
    }
  }
  return names;
}

}  // namespace

std::string_view type_name(std::size_t index) {
  static constexpr std::array<std::string_view, 5> kNames = {"true or false", "an integer", "a number",
                                                             "a text", "a list of texts"};
  return kNames.at(index);
}

OptionValue parse_value(const OptionSpec& spec, const std::vector<std::string>& pieces,
                        std::string_view origin) {
  const std::size_t type = spec.default_value.index();
  if (std::holds_alternative<std::vector<std::string>>(spec.default_value))
    return spec.commas ? split_at_commas(pieces) : pieces;
  const auto refuse = [&]() -> OptionValue {
    throw ConfigError(fmt::format("{} ({})", spec.name, origin), fmt::format("{}", fmt::join(pieces, " ")),
                      type_name(type));
  };
  if (pieces.size() != 1) return refuse();
  const std::string& text = pieces.front();
  if (std::holds_alternative<bool>(spec.default_value)) {
    if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
    if (text == "false" || text == "0" || text == "no" || text == "off") return false;
    return refuse();
  }
  if (std::holds_alternative<std::int64_t>(spec.default_value)) {
    std::int64_t integer = 0;
    return read_number(text, integer) ? OptionValue(integer) : refuse();
  }
  if (std::holds_alternative<double>(spec.default_value)) {
    double real = 0;
    return read_number(text, real) ? OptionValue(real) : refuse();
  }
  return text;
}

std::string toml_text(const OptionValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) return real_text(*real);
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  std::vector<std::string> parts;
  for (const auto& part : std::get<std::vector<std::string>>(value)) parts.push_back(quoted(part));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

std::string value_placeholder(const OptionSpec& spec) {
  if (!spec.allowed.empty()) return fmt::format("{}", fmt::join(spec.allowed, "|"));
  static constexpr std::array<std::string_view, 5> kPlaceholders = {"", "N", "X", "TEXT", "TEXT..."};
  return std::string(kPlaceholders.at(spec.default_value.index()));
}

std::string help_text(const OptionSpec& spec) {
  const std::string value = toml_text(spec.default_value);
  const bool silent = value == "\"\"" || value == "[]" || value == "false";
  return silent ? spec.help : fmt::format("{} [{}]", spec.help, value);
}

}  // namespace bunchtrain::config
