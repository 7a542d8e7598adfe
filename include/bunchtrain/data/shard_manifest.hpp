// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A data set cut into files: which there are, how many rows, how to tell that they are whole (docs/repack.md).

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::data {

/// One file of it.
struct Shard {
  std::string file;  ///< relative to the manifest's folder
  std::int64_t rows = 0;
  std::int64_t bytes = 0;  ///< of the file
  std::string hash = {};   ///< `hash_file`; empty if whoever wrote it knows none

  bool operator==(const Shard&) const = default;
};

/// What a manifest says. Its rows are those of the shards, one shard's behind another's.
struct ShardManifest {
  std::vector<Shard> shards;
  std::string card = {};              ///< a built-in name, or a .toml beside the manifest; empty: recognised
  std::optional<std::uint64_t> seed;  ///< of the shuffle that brought the rows into their order

  std::int64_t rows() const noexcept;
  bool operator==(const ShardManifest&) const = default;
};

std::string to_json(const ShardManifest& manifest);

/// @throws DataError naming path and place: no JSON, no manifest, a later version, a shard without rows or outside the
/// folder, one that is listed twice, rows that do not add up.
ShardManifest read_manifest(const std::filesystem::path& path);

/// Whether a word of `--data` names a manifest: it ends in .json.
bool is_manifest(const std::filesystem::path& path);

/// The files of its shards. Sizes are compared, with `hash` contents too.
/// @throws DataError as `read_manifest`; also for a shard that is missing or was altered.
std::vector<std::filesystem::path> shard_files(const std::filesystem::path& manifest, bool hash);

/// The card that the one manifest among `arguments` names, its path resolved; empty if there is none, or several say
/// different ones.
std::string card_of_manifests(std::span<const std::string> arguments);

}  // namespace bunchtrain::data
