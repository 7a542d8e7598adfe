// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/output_file.hpp"

#include <algorithm>
#include <fstream>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMarkedBytes = 65536;

bool is_inside(const fs::path& path, const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) return false;
  const fs::path inner = fs::weakly_canonical(path, failed), outer = fs::weakly_canonical(folder, failed);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

std::string flag(const OutputFile& output) {
  return output.option.empty() ? "the output" : setting(output.option);
}

}  // namespace

bool is_same_file(const fs::path& a, const fs::path& b) {
  std::error_code failed;
  if (fs::equivalent(a, b, failed) && !failed) return true;  // device and inode, links followed
  const fs::path first = fs::weakly_canonical(a, failed);
  return !failed && first == fs::weakly_canonical(b, failed) && !failed;
}

void require_writable_output(const OutputFile& output) {
  std::error_code failed;
  const bool exists = fs::exists(output.path, failed);
  for (const auto& input : output.inputs) {
    if (!is_same_file(output.path, input) && !(exists && is_inside(output.path, input))) continue;
    throw ConfigError(flag(output) + " " + output.path.string() + " would replace " + input.string() +
                      ", which is read: name another file");
  }
  if (!exists) return;
  if (fs::is_directory(output.path, failed))
    throw ConfigError(flag(output) + " " + output.path.string() + " is a folder: name a file in it");
  if (!fs::is_regular_file(output.path, failed))
    throw ConfigError(flag(output) + " " + output.path.string() + " is no ordinary file: name another");
  if (output.force || (output.is_own && output.is_own(output.path))) return;
  throw ConfigError(flag(output) + " " + output.path.string() +
                    " exists and was not written by this command: name another file, or replace it by " +
                    setting("force"));
}

bool begins_with_mark(const fs::path& path, std::string_view mark) {
  std::ifstream file(path, std::ios::binary);
  std::string head(kMarkedBytes, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  return std::string_view(head).substr(0, static_cast<std::size_t>(file.gcount())).find(mark) !=
         std::string_view::npos;
}

}  // namespace bunchtrain
