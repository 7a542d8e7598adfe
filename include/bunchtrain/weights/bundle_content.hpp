// SPDX-License-Identifier: Apache-2.0
#pragma once
/// All of a model bundle but its tensors: read without LibTorch, which a host application may have another one of.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace bunchtrain::weights {

/// What a bundle says of its network; the members are those of `Bundle`.
struct BundleContent {
  std::string model = {};
  std::string card = {};
  std::vector<std::string> classes = {};
  std::map<std::string, std::string> metadata = {};
  std::string hash = {};
};

/// Reads one without trust: format, sizes and checksums of all files are proved, nothing outside the folder is opened.
/// @throws CheckpointError naming what is missing, damaged or newer; DataError, IoError for a file that cannot be read.
BundleContent read_bundle_content(const std::filesystem::path& folder);

/// The safetensors file of a bundle.
std::filesystem::path bundle_weights(const std::filesystem::path& folder);

/// Whether `path` is a folder that says it is a bundle, in order or not.
bool is_bundle(const std::filesystem::path& path) noexcept;

}  // namespace bunchtrain::weights
