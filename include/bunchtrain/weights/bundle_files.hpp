// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which files a model bundle has. Knows no LibTorch.

#include <filesystem>
#include <string>
#include <vector>

namespace bunchtrain::weights {

/// Names of the files that a bundle's bundle.json lists, and that of itself. They are not looked at.
/// @throws CheckpointError for a folder that is no bundle, or of a newer version.
std::vector<std::string> bundle_files(const std::filesystem::path& folder);

}  // namespace bunchtrain::weights
