// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/parameter_group.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "bunchtrain/core/nearest.hpp"
#include "option_checks.hpp"

namespace bunchtrain::optim {

namespace {

constexpr const char* kField = "parameter group";
constexpr const char* kForm = "PATTERN:lr=FACTOR,weight_decay=X, such as *.bias:weight_decay=0";

/// Takes the text up to `separator` off the front of `rest`.
std::string take(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const std::string piece(rest.substr(0, end));
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return piece;
}

double parse_number(const std::string& text, std::string_view whole) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value) || value < 0)
    throw ConfigError(kField, whole, fmt::format("a finite number >= 0 in place of \"{}\"", text));
  return value;
}

void set(ParameterGroup& group, const std::string& name, double value, std::string_view whole) {
  if (name == "lr") {
    group.learning_rate_factor = value;
  } else if (name == "weight_decay") {
    group.weight_decay = value;
  } else {
    const std::vector<std::string> known = {"lr", "weight_decay"};
    const std::string meant = nearest(name, known);
    throw ConfigError(kField, whole,
                      fmt::format("lr and weight_decay, not \"{}\"{}", name,
                                  meant.empty() ? "" : fmt::format("; did you mean {}?", meant)));
  }
}

}  // namespace

void ParameterGroup::validate() const {
  if (pattern.empty()) throw ConfigError(kField, pattern, "a pattern for names of parameters");
  require_not_negative("learning_rate_factor", learning_rate_factor);
  if (weight_decay) require_not_negative("weight_decay", *weight_decay);
}

ParameterGroup parse_parameter_group(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size())
    throw ConfigError(kField, text, kForm);
  ParameterGroup group{.pattern = std::string(text.substr(0, colon))};
  for (std::string_view rest = text.substr(colon + 1); !rest.empty();) {
    const std::string piece = take(rest, ',');
    std::string_view setting = piece;
    const std::string name = take(setting, '=');
    set(group, name, parse_number(std::string(setting), text), text);
  }
  return group;
}

std::string to_string(const ParameterGroup& group) {
  std::vector<std::string> settings;
  if (group.learning_rate_factor != 1 || !group.weight_decay)
    settings.push_back(fmt::format("lr={}", group.learning_rate_factor));
  if (group.weight_decay) settings.push_back(fmt::format("weight_decay={}", *group.weight_decay));
  return fmt::format("{}:{}", group.pattern, fmt::join(settings, ","));
}

bool matches(const ParameterGroup& group, const std::string& parameter) {
  return fnmatch(group.pattern.c_str(), parameter.c_str(), 0) == 0;
}

bool matches_any(const ParameterGroup& group, const tensor::ParameterArenas& arenas) {
  return std::ranges::any_of(arenas, [&](const auto& arena) {
    return std::ranges::any_of(arena.segments(),
                               [&](const auto& segment) { return matches(group, segment.name); });
  });
}

std::string list_parameters(const tensor::ParameterArenas& arenas) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> names;
  for (const auto& arena : arenas)
    for (const auto& segment : arena.segments()) names.push_back(segment.name);
  const std::size_t shown = std::min(names.size(), kShown);
  const std::string rest = names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "";
  names.resize(shown);
  return fmt::format("{}{}", fmt::join(names, ", "), rest);
}

std::string describe(const ParameterGroup& group) {
  return fmt::format("{}: rate x {}{}", group.pattern, group.learning_rate_factor,
                     group.weight_decay ? fmt::format(", weight decay {}", *group.weight_decay) : "");
}

}  // namespace bunchtrain::optim
