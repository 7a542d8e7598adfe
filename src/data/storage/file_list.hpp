// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files behind the words of data: paths, patterns and manifests.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// Patterns (* ? []) are replaced by the files they match, sorted; the order of the arguments is kept.
/// A file of root:// is replaced by its copy, which is made if there is none (remote_files.hpp).
/// A manifest of shards stands for its files. @param hash whether their contents are compared with it
/// @throws DataError: nothing given, a pattern without a match, a file named twice, as `shard_files` and `local_copy`.
std::vector<std::filesystem::path> list_files(std::span<const std::string> arguments, bool hash = false);

}  // namespace bunchtrain::data
