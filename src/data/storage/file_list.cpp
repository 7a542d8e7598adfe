// SPDX-License-Identifier: Apache-2.0
#include "file_list.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <memory>
#include <new>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shard_manifest.hpp"
#include "open_files.hpp"
#include "staging/remote_files.hpp"

namespace bunchtrain::data {
namespace {

bool is_pattern(const std::string& argument) {
  return argument.find_first_of("*?[") != std::string::npos && !std::filesystem::exists(argument);
}

std::vector<std::filesystem::path> match(const std::string& pattern) {
  glob_t found{};
  const int result = ::glob(pattern.c_str(), GLOB_TILDE, nullptr, &found);  // sorted by default
  const std::unique_ptr<glob_t, void (*)(glob_t*)> owner(&found, ::globfree);
  if (result == GLOB_NOSPACE) throw std::bad_alloc();
  if (result != 0)
    throw DataError(fmt::format(
        "{}: no file matches this pattern (looked from folder {}), or a folder on its way is not readable",
        pattern, std::filesystem::current_path().string()));
  return {found.gl_pathv, found.gl_pathv + found.gl_pathc};
}

std::vector<std::filesystem::path> named_by(const std::string& argument) {
  if (is_remote_file(argument)) return {local_copy(argument)};
  return is_pattern(argument) ? match(argument) : std::vector<std::filesystem::path>{argument};
}

}  // namespace

std::vector<std::filesystem::path> list_files(std::span<const std::string> arguments, bool hash) {
  if (arguments.empty())
    throw DataError("no data files were given; name HDF5 files or patterns such as 'jets/*.h5'");
  std::vector<std::filesystem::path> files;
  std::set<std::filesystem::path> seen;
  for (const auto& argument : arguments) {
    for (const auto& word : named_by(argument))
      for (const auto& file : is_manifest(word) ? shard_files(word, hash) : std::vector{word}) {
        std::error_code error;
        if (!seen.insert(std::filesystem::weakly_canonical(file, error)).second)
          throw DataError(fmt::format("{}: named twice; its samples would count double", file.string()));
        files.push_back(file);
      }
  }
  // Each of them once by us, and once by HDF5 where only the library can read it.
  hdf5::allow_open_files(2 * files.size());
  return files;
}

}  // namespace bunchtrain::data
