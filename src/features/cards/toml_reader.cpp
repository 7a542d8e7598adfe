// SPDX-License-Identifier: Apache-2.0
#include "toml_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "expressions/units.hpp"

namespace bunchtrain::features::detail {

std::vector<TomlEntry> entries_of(const toml::table& table) {
  std::vector<TomlEntry> entries;
  for (const auto& [key, value] : table) entries.push_back({std::string(key.str()), &value});
  std::ranges::sort(entries, [](const TomlEntry& a, const TomlEntry& b) {
    const auto x = a.value->source().begin, y = b.value->source().begin;
    return x.line != y.line ? x.line < y.line : x.column < y.column;
  });
  return entries;
}

toml::table TomlReader::parse() const {
  try {
    toml::table root = toml::parse(text_, origin_);
    const toml::node* version = root.get("card");
    if (!version)
      throw ConfigError(fmt::format("card {}: the first line of a card is \"card = 1\"", origin_));
    if (as_integer(*version, "card") != 1) fail(*version, "this program reads cards of version 1 only");
    return root;
  } catch (const toml::parse_error& error) {
    throw ConfigError(
        fmt::format("card {}, line {}: {}", origin_, error.source().begin.line, error.description()));
  }
}

std::string TomlReader::name_of(const toml::table& root) const {
  if (const toml::node* name = root.get("name")) return as_string(*name, "name");
  return std::filesystem::path(origin_).stem().string();
}

void TomlReader::fail(const toml::node& at, std::string_view what, std::source_location where) const {
  throw ConfigError(fmt::format("card {}, line {}: {}", origin_, at.source().begin.line, what), where);
}

void TomlReader::check_keys(const toml::table& table, std::string_view where,
                            std::initializer_list<std::string_view> known) const {
  const std::vector<std::string> names(known.begin(), known.end());
  for (const TomlEntry& entry : entries_of(table)) {
    if (std::ranges::find(names, entry.name) != names.end()) continue;
    const std::string near = nearest(entry.name, names);
    fail(*entry.value, fmt::format("unknown key \"{}\" {}{}; known: {}", entry.name, where,
                                   near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near),
                                   fmt::join(names, ", ")));
  }
}

const toml::table& TomlReader::as_table(const toml::node& node, std::string_view what) const {
  if (const toml::table* table = node.as_table()) return *table;
  fail(node, fmt::format("{} is a table", what));
}

const toml::array& TomlReader::as_array(const toml::node& node, std::string_view what) const {
  if (const toml::array* array = node.as_array()) return *array;
  fail(node, fmt::format("{} is an array: [ ... ]", what));
}

std::string TomlReader::as_string(const toml::node& node, std::string_view what) const {
  if (const auto value = node.value_exact<std::string>()) return *value;
  fail(node, fmt::format("{} is a text in quotes", what));
}

std::int64_t TomlReader::as_integer(const toml::node& node, std::string_view what) const {
  if (const auto value = node.value_exact<std::int64_t>()) return *value;
  fail(node, fmt::format("{} is a whole number", what));
}

double TomlReader::as_number(const toml::node& node, std::string_view what) const {
  if (const auto value = node.value<double>(); value && node.is_number()) return *value;
  fail(node, fmt::format("{} is a number", what));
}

bool TomlReader::as_flag(const toml::node& node, std::string_view what) const {
  if (const auto value = node.value_exact<bool>()) return *value;
  fail(node, fmt::format("{} is true or false", what));
}

std::vector<std::string> TomlReader::as_strings(const toml::node& node, std::string_view what) const {
  std::vector<std::string> values;
  for (const toml::node& value : as_array(node, what)) values.push_back(as_string(value, what));
  return values;
}

std::string TomlReader::as_unit(const toml::node& node) const {
  std::string unit = as_string(node, "a unit");
  if (!unit_factor(unit))
    fail(node, fmt::format("unit \"{}\" does not convert; known: {}", unit, fmt::join(known_units(), " ")));
  return unit;
}

PlaceText TomlReader::as_place(const toml::node& node, std::string_view what) const {
  const std::string text = as_string(node, what);
  try {
    return split_place(text);
  } catch (const ConfigError& error) {
    fail(node, fmt::format("{} = {}", what, error.message()));
  }
}

std::string TomlReader::as_dataset(const toml::node& node, std::string_view what) const {
  const PlaceText place = as_place(node, what);
  if (place.group || !place.member.empty() || place.brackets)
    fail(node,
         fmt::format("{} = \"{}\": the name of one dataset; one that holds : or [ or * stands in quotes: "
                     "\"'a:b'\"",
                     what, as_string(node, what)));
  return place.dataset;
}

void TomlReader::read_missing(const toml::table& root, bool& fill) const {
  const toml::node* missing = root.get("missing");
  if (!missing) return;
  const std::string choice = as_string(*missing, "missing");
  if (choice != "fill" && choice != "error")
    fail(*missing, fmt::format("missing = \"{}\": \"error\", or \"fill\" to read rows that were never "
                               "written as the fill value",
                               choice));
  fill = choice == "fill";
}

void TomlReader::read_fractions(const toml::table& split, double& valid) const {
  section(split, "fractions", [&](const toml::table& shares) {
    check_keys(shares, "in split.fractions", {"valid"});
    const toml::node* share = shares.get("valid");
    if (!share) return;
    valid = as_number(*share, "valid");
    if (!(valid >= 0 && valid < 1)) fail(*share, "valid is at least 0 and below 1");
  });
}

}  // namespace bunchtrain::features::detail
