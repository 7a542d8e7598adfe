// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/error.hpp"

#include <utility>

namespace bunchtrain {

namespace {

std::string config_message(std::string_view field, std::string_view value, std::string_view allowed) {
  std::string text(field);
  text.append(" = ")
      .append(value.empty() ? "(empty)" : value)
      .append(" cannot be used; allowed: ")
      .append(allowed);
  return text;
}

std::string not_built_message(std::string_view what, std::string_view cmake_option) {
  std::string text(what);
  text.append(" is not part of this build; configure with -D")
      .append(cmake_option)
      .append(" and build again");
  return text;
}

}  // namespace

Error::Error(std::string message, std::source_location where)
    : message_(std::move(message)), text_(message_), where_(where) {}

Error& Error::add_context(std::string_view line) {
  context_.emplace_back(line);
  text_.append("\n  ").append(line);
  return *this;
}

ConfigError::ConfigError(std::string_view field, std::string_view value, std::string_view allowed,
                         std::source_location where)
    : Error(config_message(field, value, allowed), where) {}

NotBuiltError::NotBuiltError(std::string_view what, std::string_view cmake_option, std::source_location where)
    : Error(not_built_message(what, cmake_option), where) {}

}  // namespace bunchtrain
