// SPDX-License-Identifier: Apache-2.0
#pragma once
/// manifest.json: what a snapshot holds, with the checksum of every file and of itself.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"

namespace bunchtrain::checkpoint {

inline constexpr const char* kManifestName = "manifest.json";

/// One safetensors file: a replicated component, or one rank's part of it.
struct FileEntry {
  std::string component;
  std::optional<int> rank = {};
  std::uint64_t bytes = 0;
  std::string hash;  ///< XXH3-128
};

struct Manifest {
  SnapshotInfo info;
  std::string metric_name;
  bool higher_is_better = true;
  std::vector<FileEntry> files;
};

/// "model.safetensors" or "random.rank-00003.safetensors".
std::string file_name(const FileEntry& entry);
/// Component names become file names. @throws CheckpointError unless made of a-z, 0-9, "_" and "-".
void check_component_name(const std::string& name);

/// One line of JSON, for exchange between ranks.
std::string to_json_line(const std::vector<FileEntry>& files);
std::vector<FileEntry> parse_json_line(const std::string& line);

/// Writes `folder`/manifest.json atomically. Returns its checksum.
std::string write_manifest(const std::filesystem::path& folder, const Manifest& manifest);
/// @throws CheckpointError naming what is missing or damaged.
Manifest read_manifest(const std::filesystem::path& folder);

}  // namespace bunchtrain::checkpoint
