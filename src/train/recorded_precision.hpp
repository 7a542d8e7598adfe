// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a run was trained in, before it is opened.

#include <filesystem>
#include <string>

namespace bunchtrain::train {

/// The precision that run.json of a folder names; empty if there is none or it cannot be read, which opening
/// the folder will tell.
std::string recorded_precision(const std::filesystem::path& run_folder);

}  // namespace bunchtrain::train
