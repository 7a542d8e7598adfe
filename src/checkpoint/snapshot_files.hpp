// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The safetensors files of a snapshot.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "manifest.hpp"

namespace bunchtrain::checkpoint {

/// Writes one file per component into `folder`, synchronised, and returns their entries.
std::vector<FileEntry> write_components(const std::filesystem::path& folder, const Components& components,
                                        std::optional<int> rank);
/// Which components are meant; empty: all.
using ComponentNames = std::vector<std::string>;

/// Sizes and checksums of the files of `wanted`. @throws CheckpointError naming the first damaged one, or
/// what is not there; IoError.
void verify_files(const Manifest& manifest, const ComponentNames& wanted = {});
/// Reads what rank `rank` of `world` needs, without looking at checksums again.
Snapshot read_files(const Manifest& manifest, int rank, int world, const ComponentNames& wanted = {});

}  // namespace bunchtrain::checkpoint
