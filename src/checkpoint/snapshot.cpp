// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/snapshot.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/weights/safetensors.hpp"
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

StateDict read_component(const std::filesystem::path& path) {
  weights::SafeTensors file = weights::read_safetensors(path);
  StateDict state;
  state.tensors = std::move(file.tensors);
  for (auto& [name, value] : file.metadata) state.values.emplace(name, std::move(value));
  return state;
}

bool is_wanted(const FileEntry& entry, const ComponentNames& wanted) {
  return wanted.empty() || std::ranges::find(wanted, entry.component) != wanted.end();
}

}  // namespace

std::vector<FileEntry> write_components(const std::filesystem::path& folder, const Components& components,
                                        std::optional<int> rank) {
  std::vector<FileEntry> files;
  for (const auto& [name, state] : components) {
    check_component_name(name);
    FileEntry entry{.component = name, .rank = rank, .bytes = 0, .hash = {}};
    const auto path = folder / file_name(entry);
    auto written = weights::write_safetensors(
        path, {.tensors = state.tensors, .metadata = {state.values.begin(), state.values.end()}});
    entry.bytes = written.bytes;
    entry.hash = std::move(written.hash);
    files.push_back(std::move(entry));
  }
  return files;
}

void verify_files(const Manifest& manifest, const ComponentNames& wanted) {
  for (const std::string& name : wanted) {
    if (std::ranges::find(manifest.files, name, &FileEntry::component) == manifest.files.end())
      throw CheckpointError(fmt::format("{} has no '{}': it belongs to another kind of run",
                                        manifest.info.folder.string(), name));
  }
  for (const FileEntry& entry : manifest.files)
    if (is_wanted(entry, wanted)) verify_file(manifest.info.folder / file_name(entry), entry);
}

Snapshot read_files(const Manifest& manifest, int rank, int world, const ComponentNames& wanted) {
  Snapshot snapshot{.info = manifest.info, .components = {}, .rank_components = {}};
  for (const FileEntry& entry : manifest.files) {
    if (!is_wanted(entry, wanted)) continue;
    const auto path = manifest.info.folder / file_name(entry);
    if (!entry.rank) {
      snapshot.components.emplace(entry.component, read_component(path));
    } else if (*entry.rank == rank && manifest.info.world == world) {
      snapshot.rank_components.emplace(entry.component, read_component(path));
    }
  }
  return snapshot;
}

SnapshotInfo read_info(const std::filesystem::path& folder) { return read_manifest(folder).info; }

void verify(const std::filesystem::path& folder) { verify_files(read_manifest(folder)); }

Snapshot read_snapshot(const std::filesystem::path& folder, int rank, int world) {
  const Manifest manifest = read_manifest(folder);
  verify_files(manifest);
  return read_files(manifest, rank, world);
}

}  // namespace bunchtrain::checkpoint
