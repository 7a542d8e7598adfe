// SPDX-License-Identifier: Apache-2.0
#pragma once
/// manifest.json: what a snapshot holds, with the checksum of every file and of itself.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/tensor/slice.hpp"
#include "bunchtrain/weights/safetensors_file.hpp"

namespace bunchtrain::checkpoint {

inline constexpr const char* kManifestName = "manifest.json";

/// What a file holds of a tensor.
struct StoredSlice {
  std::string name;
  weights::Dtype dtype = weights::Dtype::f32;
  tensor::Slice slice = {};
};

/// Whose a file is.
enum class FileKind {
  shared,  ///< of a component that all ranks have in common: all of it, or what `rank` wrote of it
  own,     ///< of a component that `rank` has for itself
};

/// One safetensors file: a component, or a part of it.
struct FileEntry {
  std::string component;
  FileKind kind = FileKind::shared;
  int rank = 0;  ///< that wrote it
  std::uint64_t bytes = 0;
  std::string hash = {};                  ///< XXH3-128
  std::vector<StoredSlice> tensors = {};  ///< nothing in format 1, whose files hold whole tensors
};

struct Manifest {
  int version = 2;  ///< of the format
  SnapshotInfo info;
  std::string metric_name;
  bool higher_is_better = true;
  std::vector<FileEntry> files;
};

/// "model.safetensors", "model.part-00002.safetensors" (of rank 2), "random.rank-00003.safetensors" (its own).
std::string file_name(const FileEntry& entry);
/// Component names become file names. @throws CheckpointError unless made of a-z, 0-9, "_" and "-".
void check_component_name(const std::string& name);

/// One line of JSON, for exchange between ranks.
std::string to_json_line(const std::vector<FileEntry>& files);
std::vector<FileEntry> parse_json_line(const std::string& line);

/// That every element of every shared tensor is in one file, and in one only. @throws CheckpointError naming the first tensor
/// of which that is not true, and the files.
void check_complete(const std::vector<FileEntry>& files);

/// Writes `folder`/manifest.json atomically. Returns its checksum.
std::string write_manifest(const std::filesystem::path& folder, const Manifest& manifest);
/// A manifest's content as JSON.
std::string content_text(const Manifest& manifest);
/// Such text, read without trust. @throws CheckpointError
Manifest parse_manifest_content(std::string_view json);
/// @throws CheckpointError naming what is missing or damaged.
Manifest read_manifest(const std::filesystem::path& folder);

}  // namespace bunchtrain::checkpoint
