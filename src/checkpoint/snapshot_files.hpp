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

/// Writes this rank's share of the components that the ranks have in common into `folder`, synchronised, and returns the
/// entries of its files. Parts of tensors are written by whoever has them; whole tensors, which all ranks have, by one rank
/// each, so that the bytes are spread; values by rank 0.
std::vector<FileEntry> write_shared(const std::filesystem::path& folder, const Components& components,
                                    int rank, int world);
/// Writes the components that this rank has for itself.
std::vector<FileEntry> write_own(const std::filesystem::path& folder, const Components& components, int rank);

/// Which components are meant; empty: all.
using ComponentNames = std::vector<std::string>;

/// Sizes and checksums of the files of `wanted`. @throws CheckpointError naming the first damaged one, or
/// what is not there; IoError.
void verify_files(const Manifest& manifest, const ComponentNames& wanted = {});
/// Reads what rank `rank` of `world` needs, without looking at checksums again.
Snapshot read_files(const Manifest& manifest, int rank, int world, const ComponentNames& wanted = {},
                    const WantedSlices& slices = {});

}  // namespace bunchtrain::checkpoint
