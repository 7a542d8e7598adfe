// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files behind `--data`: paths and patterns.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// Patterns (* ? []) are replaced by the files they match, sorted; the order of the arguments is kept.
/// @throws DataError: nothing given, a pattern without a match, a file named twice.
std::vector<std::filesystem::path> list_files(std::span<const std::string> arguments);

}  // namespace bunchtrain::data
