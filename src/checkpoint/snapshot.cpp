// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/snapshot.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "component_files.hpp"
#include "manifest.hpp"
#include "snapshot_files.hpp"

namespace bunchtrain::checkpoint {
namespace {

void verify_file(const std::filesystem::path& path, const FileEntry& entry) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) throw CheckpointError(fmt::format("{} is missing", path.string()));
  if (bytes != entry.bytes) {
    throw CheckpointError(fmt::format("{} has {} bytes instead of {}", path.string(), bytes, entry.bytes));
  }
  std::string hash;
  try {
    hash = hash_file(path);
  } catch (const DataError& unreadable) {
    throw CheckpointError(unreadable.message());
  }
  if (hash != entry.hash) {
    throw CheckpointError(
        fmt::format("{} is damaged: its checksum is {} instead of {}", path.string(), hash, entry.hash));
  }
}

bool is_wanted(const FileEntry& entry, const ComponentNames& wanted) {
  return wanted.empty() || std::ranges::find(wanted, entry.component) != wanted.end();
}

}  // namespace

void verify_files(const Manifest& manifest, const ComponentNames& wanted) {
  for (const std::string& name : wanted) {
    if (std::ranges::find(manifest.files, name, &FileEntry::component) == manifest.files.end())
      throw CheckpointError(fmt::format("{} has no '{}': it belongs to another kind of run",
                                        manifest.info.folder.string(), name));
  }
  for (const FileEntry& entry : manifest.files)
    if (is_wanted(entry, wanted)) {
      verify_file(manifest.info.folder / file_name(entry), entry);
      check_contents(manifest, entry);
    }
}

Snapshot read_files(const Manifest& manifest, int rank, int world, const ComponentNames& wanted,
                    const WantedSlices& slices) {
  Snapshot snapshot{.info = manifest.info, .components = {}, .rank_components = {}};
  for (const FileEntry& entry : manifest.files) {
    if (!is_wanted(entry, wanted)) continue;
    if (entry.kind == FileKind::shared) {
      const auto parts = slices.find(entry.component);
      ComponentReader(snapshot.components[entry.component], parts == slices.end() ? nullptr : &parts->second)
          .read(manifest, entry);
    } else if (entry.rank == rank && manifest.info.world == world) {
      ComponentReader(snapshot.rank_components[entry.component], nullptr).read(manifest, entry);
    }
  }
  return snapshot;
}

SnapshotInfo read_info(const std::filesystem::path& folder) { return read_manifest(folder).info; }

void verify(const std::filesystem::path& folder) { verify_files(read_manifest(folder)); }

Snapshot read_snapshot(const std::filesystem::path& folder, int rank, int world, const WantedSlices& slices) {
  const Manifest manifest = read_manifest(folder);
  verify_files(manifest);
  return read_files(manifest, rank, world, {}, slices);
}

}  // namespace bunchtrain::checkpoint
