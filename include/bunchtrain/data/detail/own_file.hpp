// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A mark in the HDF5 files that commands write: a command replaces what the same command wrote.

#include <filesystem>
#include <string_view>

namespace bunchtrain::data {

/// The attribute of a file's root that says what made it.
inline constexpr const char* kOwnFileAttribute = "made by bunchtrain";

/// Whether a file has the mark of `kind` ("scores", "toy jets"); false for what is no
/// HDF5 file or cannot be read.
bool is_own_file(const std::filesystem::path& path, std::string_view kind);

}  // namespace bunchtrain::data
