// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The safetensors files of a snapshot.

#include <filesystem>
#include <optional>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "manifest.hpp"

namespace bunchtrain::checkpoint {

/// Writes one file per component into `folder`, synchronised, and returns their entries.
std::vector<FileEntry> write_components(const std::filesystem::path& folder, const Components& components,
                                        std::optional<int> rank);
/// Sizes and checksums of all files. @throws CheckpointError naming the first damaged one.
void verify_files(const Manifest& manifest);
/// Reads what rank `rank` of `world` needs, without looking at checksums again.
Snapshot read_files(const Manifest& manifest, int rank, int world);

}  // namespace bunchtrain::checkpoint
