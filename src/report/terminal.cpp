// SPDX-License-Identifier: Apache-2.0
#include "terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>
#include <string_view>

#include "append_file.hpp"

namespace bunchtrain::report {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Columns of a terminal; 0 for anything else and for pseudo-terminals that nobody gave a size.
int columns_of(int descriptor) {
  winsize size{};
  if (!::isatty(descriptor) || ::ioctl(descriptor, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

// The launcher on this node is our parent; its descriptor 1 can be opened again through /proc.
int columns_of_parent() {
  const std::string path = "/proc/" + std::to_string(::getppid()) + "/fd/1";
  const UniqueHandle<DescriptorTraits> parent(
      ::open(path.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  return parent ? columns_of(parent.get()) : 0;
}

bool speaks_utf8() {
  std::string locale = environment("LC_ALL");
  if (locale.empty()) locale = environment("LC_CTYPE");
  if (locale.empty()) locale = environment("LANG");
  std::transform(locale.begin(), locale.end(), locale.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

}  // namespace

Terminal observe_standard_output() {
  Terminal terminal;
  terminal.unicode = speaks_utf8();
  const std::string type = environment("TERM");
  if (!::isatty(STDOUT_FILENO) || type.empty() || type == "dumb") return terminal;
  int columns = columns_of(STDOUT_FILENO);
  if (columns == 0) columns = columns_of_parent();
  terminal.interactive = columns > 0;
  if (columns > 0) terminal.width = columns;
  return terminal;
}

}  // namespace bunchtrain::report
