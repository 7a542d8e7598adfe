// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Says whether markup is well formed: every tag closed in order, every attribute
/// quoted, no stray "<" or "&".

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace bunchtrain::test {

/// Empty for well-formed markup, else the fault. Tags without end in HTML are known; <style> is skipped.
inline std::string markup_fault(const std::string& markup) {
  static const std::set<std::string> kVoid{"meta", "!DOCTYPE", "br"};
  std::vector<std::string> open;
  for (std::size_t at = 0; at < markup.size();) {
    if (markup[at] == '&' && markup.substr(at, 12).find(';') == std::string::npos)
      return "a bare & near " + markup.substr(at, 20);
    if (markup[at] != '<') {
      ++at;
      continue;
    }
    const std::size_t end = markup.find('>', at);
    if (end == std::string::npos) return "a tag without end";
    const std::string tag = markup.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /\n", 1));
    if (tag.empty() || tag.find('<') != std::string::npos) return "a bare < near " + markup.substr(at, 20);
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return "an open quote in <" + tag;
    at = end + 1;
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) return "unexpected <" + tag + ">";
      open.pop_back();
    } else if (tag.back() != '/' && !kVoid.count(name)) {
      open.push_back(name);
      if (name == "style") at = markup.find("</style>", at);
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is never closed";
}

}  // namespace bunchtrain::test
