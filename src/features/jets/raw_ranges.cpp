// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/raw_ranges.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/error.hpp"
#include "raw_values.hpp"

namespace bunchtrain::features {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(std::string_view why) {
  throw CheckpointError(fmt::format(
      "what the bundle says of the ranges of its inputs cannot be read: {}; write it again from its run",
      why));
}

}  // namespace

std::string to_text(const RawRanges& ranges) {
  Json columns = Json::object();
  for (const auto& [name, range] : ranges.columns)
    columns[name] = Json::array({range.minimum, range.maximum});
  return Json{{"jets", ranges.jets}, {"columns", std::move(columns)}}.dump(-1, ' ', false,
                                                                           Json::error_handler_t::replace);
}

RawRanges parse_ranges(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    RawRanges ranges{.jets = json.at("jets").get<std::int64_t>()};
    for (const auto& [name, ends] : json.at("columns").items()) {
      const ValueRange range{ends.at(0).get<double>(), ends.at(1).get<double>()};
      if (!(range.minimum <= range.maximum)) refuse(fmt::format("that of '{}' ends before it begins", name));
      ranges.columns.emplace(name, range);
    }
    return ranges;
  } catch (const Json::exception& error) {
    refuse(error.what());
  }
}

namespace detail {

std::vector<std::string> input_columns(const CompiledCard& compiled) {
  std::vector<std::string> names;
  const auto add = [&](const Program& program, const auto& needed) {
    for (std::size_t i = 0; i < program.columns().size(); ++i)
      if (needed(i)) names.push_back(program.columns()[i].full_name());
  };
  const auto all = [](std::size_t) { return true; };
  add(compiled.mask, all);
  add(compiled.jets, [&](std::size_t i) { return compiled.jets_need[i]; });
  add(compiled.inputs, all);
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

void add_to_ranges(const CompiledCard& compiled, const RawColumns& raw, std::span<const std::int64_t> rows,
                   Workspace& workspace, RawRanges& ranges) {
  const std::vector<std::string> names = input_columns(compiled);
  std::vector<ValueRange> seen(names.size(), {.minimum = HUGE_VAL, .maximum = -HUGE_VAL});
  RawValues(compiled, raw, names).visit(rows, workspace, [&](std::size_t column, double value) {
    if (!std::isfinite(value)) return;
    seen[column].minimum = std::min(seen[column].minimum, value);
    seen[column].maximum = std::max(seen[column].maximum, value);
  });
  ranges.jets += std::ssize(rows);
  for (std::size_t column = 0; column < names.size(); ++column) {
    if (seen[column].minimum > seen[column].maximum) continue;
    ValueRange& range = ranges.columns.try_emplace(names[column], seen[column]).first->second;
    range.minimum = std::min(range.minimum, seen[column].minimum);
    range.maximum = std::max(range.maximum, seen[column].maximum);
  }
}

}  // namespace detail
}  // namespace bunchtrain::features
