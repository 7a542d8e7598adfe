// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files behind names and patterns on a command line.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// As the datasets expand them. @throws DataError: nothing given, a pattern without a
/// match, a file named twice.
std::vector<std::filesystem::path> input_files(std::span<const std::string> arguments);

}  // namespace bunchtrain::data
