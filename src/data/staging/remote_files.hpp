// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Copies of files on servers of XRootD.

#include <filesystem>
#include <string>
#include <string_view>

namespace bunchtrain::data {

/// Whether a word of data is root://HOST//PATH.
bool is_remote_file(std::string_view word);

/// The copy of such a file in the folder of `keep_remote_files_in`, made by xrdcp unless a whole one is there. One
/// process of a node copies at a time, the others wait and find it. Thread-safe.
/// @throws ConfigError for a pattern or a manifest, without a folder, one that cannot be made, or without xrdcp;
/// DataError if xrdcp fails or its result is no whole HDF5 file; IoError, CheckpointError if the folder refuses.
std::filesystem::path local_copy(const std::string& url);

}  // namespace bunchtrain::data
