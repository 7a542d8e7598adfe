// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/detail/markup.hpp"

#include <fmt/core.h>

namespace bunchtrain::plot {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// What is lowered or raised at the front of `text` ("{...}" or one character), removed from
// it; empty if nothing is.
std::string_view take_script(std::string_view& text) {
  std::string_view script;
  if (!text.empty() && text.front() == '{' && text.find('}') != std::string_view::npos) {
    const std::size_t end = text.find('}');
    script = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
  } else if (!text.empty() && is_letter_or_digit(text.front()) &&
             (text.size() == 1 || !is_letter_or_digit(text[1]))) {
    // "p_T" has a subscript, the name "valid_auc" has none.
    script = text.substr(0, 1);
    text.remove_prefix(1);
  }
  return script;
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        // Other control characters are not allowed in XML at all.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') result += c;
    }
  }
  return result;
}

std::string format_label(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    const std::string_view script = c == '_' || c == '^' ? take_script(text) : std::string_view();
    if (script.empty()) {
      result += escape_markup({&c, 1});
      continue;
    }
    const std::string_view down = c == '_' ? "0.3em" : "-0.4em", back = c == '_' ? "-0.22em" : "0.3em";
    result += fmt::format("<tspan dy=\"{}\" font-size=\"75%\">{}</tspan>", down, escape_markup(script));
    // The baseline returns with the next character, or an empty one at the end.
    std::size_t length = text.empty() ? 0 : 1;
    while (length > 0 && length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80)
      ++length;
    result += fmt::format("<tspan dy=\"{}\">{}</tspan>", back,
                          length ? escape_markup(text.substr(0, length)) : "\u200b");
    text.remove_prefix(length);
  }
  return result;
}

std::string format_html_label(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    const std::string_view script = c == '_' || c == '^' ? take_script(text) : std::string_view();
    result += script.empty() ? escape_markup({&c, 1})
                             : fmt::format("<{0}>{1}</{0}>", c == '_' ? "sub" : "sup", escape_markup(script));
  }
  return result;
}

std::string plain_label(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    const std::string_view script = c == '_' || c == '^' ? take_script(text) : std::string_view();
    result += script.empty() ? std::string_view(&c, 1) : script;
  }
  return result;
}

double estimate_width(std::string_view text, double font_size) {
  double ems = 0;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80 || c == '{' || c == '}' || c == '^') continue;
    const bool narrow = std::string_view("iljtfr.,:;'|()[]! ").find(c) != std::string_view::npos;
    const bool wide = (c >= 'A' && c <= 'Z') || c == 'm' || c == 'w';
    ems += narrow ? 0.37 : wide ? 0.8 : 0.62;
  }
  return ems * font_size;
}

}  // namespace bunchtrain::plot
