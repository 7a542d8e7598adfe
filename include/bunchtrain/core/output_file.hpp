// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an option that writes may replace: never a file that is read, nothing of
/// others without being told to.

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain {

/// A file that a command is about to write.
struct OutputFile {
  std::filesystem::path path;
  std::string option = {};  ///< "output": how the user named it, for messages
  /// Files that the command reads; a folder stands for everything in it.
  std::vector<std::filesystem::path> inputs = {};
  bool force = false;  ///< `--force`: replaces what others wrote, but never an input
  /// Whether an existing file is what the same command wrote before, told by its contents:
  /// replaced without `--force`.
  std::function<bool(const std::filesystem::path&)> is_own = {};
};

/// Whether two names lead to one file: hard and symbolic links and relative names are followed.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b);

/// Call it before the work starts, and again before the file is put in its place.
/// @throws ConfigError naming the input that would be replaced, the foreign file, or the
/// folder that stands there.
void require_writable_output(const OutputFile& output);

/// Whether the first 64 KiB of a file hold `mark`; false for what cannot be read.
bool begins_with_mark(const std::filesystem::path& path, std::string_view mark);

}  // namespace bunchtrain
