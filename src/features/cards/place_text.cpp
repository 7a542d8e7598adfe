// SPDX-License-Identifier: Apache-2.0
#include "place_text.hpp"

#include <fmt/format.h>

#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features::detail {
namespace {

/// Characters of a place with the quotes taken away; those that stood in quotes separate nothing.
struct UnquotedText {
  std::string text;
  std::vector<bool> quoted;

  std::size_t find_last(char wanted, std::size_t end) const {
    while (end-- > 0)
      if (text[end] == wanted && !quoted[end]) return end;
    return std::string::npos;
  }
  bool has(std::size_t at, char wanted) const { return text[at] == wanted && !quoted[at]; }
};

[[noreturn]] void refuse(std::string_view text, std::string_view what) {
  throw ConfigError(fmt::format("\"{}\": {}", text, what));
}

UnquotedText unquote(std::string_view text) {
  UnquotedText plain;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool doubled = inside && text.substr(i, 2) == "''";
    if (text[i] == '\'' && !doubled) {
      inside = !inside;
      continue;
    }
    if (doubled) ++i;
    plain.text += text[i];
    plain.quoted.push_back(inside);
  }
  if (inside) refuse(text, "a quote ' is not closed; a quote within quotes is written ''");
  return plain;
}

/// "/a//b/./c" names the same object as "a/b/c".
std::string normalised(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    const std::size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (part.empty() || part == ".") continue;
    if (!result.empty()) result += '/';
    result += part;
  }
  return result;
}

}  // namespace

PlaceText split_place(std::string_view text) {
  const UnquotedText plain = unquote(text);
  std::size_t end = plain.text.size();
  PlaceText place;
  if (end > 0 && plain.has(end - 1, ']')) {
    const std::size_t open = plain.find_last('[', end);
    if (open == std::string::npos)
      refuse(text, "a \"[\" is missing; a name with brackets stands in quotes: 'a]'");
    place.brackets = plain.text.substr(open + 1, end - open - 2);
    end = open;
  }
  if (const std::size_t colon = plain.find_last(':', end); colon != std::string::npos) {
    place.member = plain.text.substr(colon + 1, end - colon - 1);
    if (place.member.empty())
      refuse(text, "a member follows the colon; a name with a colon stands in quotes: 'a:'");
    end = colon;
  }
  if (end > 0 && plain.has(end - 1, '*') && (end == 1 || plain.text[end - 2] == '/')) {
    place.group = true;
    --end;
    if (!place.member.empty() || place.brackets)
      refuse(text, "all datasets of a group (NAME/*) are read by their names, without member or slice");
  }
  place.dataset = normalised(std::string_view(plain.text).substr(0, end));
  if (place.dataset.empty() && !place.group) refuse(text, "names no dataset");
  return place;
}

std::string quote_name(std::string_view name) {
  if (name.find_first_of(":[]'") == std::string_view::npos && !name.ends_with('*')) return std::string(name);
  std::string quoted = "'";
  for (const char c : name) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

}  // namespace bunchtrain::features::detail
