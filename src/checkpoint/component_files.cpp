// SPDX-License-Identifier: Apache-2.0
#include "component_files.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "snapshot_files.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;
using tensor::HeldRange;
using tensor::Slice;
using weights::SafeTensorsFile;
using weights::TensorEntry;

/// A component below this is not worth more files than one.
constexpr std::size_t kWorthSpreading = std::size_t{1} << 20;

std::size_t whole_bytes(const StateDict& state) {
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : state.tensors)
    if (!state.slices.contains(name)) bytes += tensor.nbytes();
  return bytes;
}

std::span<std::byte> bytes_of_tensor(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

FileEntry write_file(const fs::path& folder, FileEntry entry, const StateDict& state) {
  weights::SafeTensors content{.tensors = state.tensors,
                               .metadata = {state.values.begin(), state.values.end()}};
  for (const auto& [name, tensor] : state.tensors)
    entry.tensors.push_back({.name = name,
                             .dtype = weights::dtype_of(tensor, fmt::format("tensor '{}'", name)),
                             .slice = state.slice_of(name)});
  auto written = weights::write_safetensors(folder / file_name(entry), content);
  entry.bytes = written.bytes;
  entry.hash = std::move(written.hash);
  return entry;
}

/// Which rank writes each tensor of `state`, in its order: parts `rank` itself, whole ones by turns, so that the bytes are spread.
/// The same on all ranks for whole tensors.
std::vector<int> writers_of(const StateDict& state, int rank, int world) {
  const std::size_t count = state.tensors.size();
  std::vector<int> writers(count, 0);
  std::vector<std::size_t> bytes, whole;
  for (const auto& [name, tensor] : state.tensors) {
    const std::size_t index = bytes.size();
    bytes.push_back(tensor.nbytes());
    if (state.slices.contains(name))
      writers[index] = rank;
    else
      whole.push_back(index);
  }
  if (whole_bytes(state) < kWorthSpreading) return writers;
  std::ranges::stable_sort(whole, std::greater{}, [&](std::size_t index) { return bytes[index]; });
  std::vector<std::size_t> load(static_cast<std::size_t>(world), 0);
  for (const std::size_t index : whole) {
    const auto least = std::ranges::min_element(load);
    *least += bytes[index];
    writers[index] = static_cast<int>(least - load.begin());
  }
  return writers;
}

/// What rank `rank` writes of the component.
StateDict share_of(const StateDict& state, int rank, int world) {
  StateDict share;
  if (rank == 0) share.values = state.values;
  const auto writers = writers_of(state, rank, world);
  auto writer = writers.begin();
  for (const auto& [name, tensor] : state.tensors) {
    if (*writer++ != rank) continue;
    share.tensors.set(name, tensor);
    if (const auto slice = state.slices.find(name); slice != state.slices.end()) share.slices.insert(*slice);
  }
  return share;
}

/// In format 1 files say themselves what they hold.
std::vector<StoredSlice> contents_of(const Manifest& manifest, const FileEntry& file,
                                     const SafeTensorsFile& opened) {
  if (manifest.version > 1) return file.tensors;
  std::vector<StoredSlice> contents;
  for (const TensorEntry& entry : opened.entries())
    contents.push_back({.name = entry.name, .dtype = entry.dtype, .slice = Slice::whole(entry.shape)});
  return contents;
}

const TensorEntry& entry_of(const SafeTensorsFile& opened, const StoredSlice& stored, const fs::path& path) {
  const TensorEntry* entry = opened.find(stored.name);
  if (!entry || entry->dtype != stored.dtype || entry->shape != stored.slice.held_sizes())
    throw CheckpointError(fmt::format("{} does not hold '{}' as its manifest says ({})", path.string(),
                                      stored.name, stored.slice.to_string()));
  return *entry;
}

/// Elements `range` of the stored part.
at::Tensor read_range(const SafeTensorsFile& opened, const TensorEntry& entry, HeldRange range) {
  at::Tensor part = at::empty({range.count}, weights::scalar_type_of(entry.dtype));
  opened.read(entry, bytes_of_tensor(part), static_cast<std::uint64_t>(range.begin) * bytes_of(entry.dtype));
  return part;
}

}  // namespace

std::vector<FileEntry> write_shared(const fs::path& folder, const Components& components, int rank,
                                    int world) {
  std::vector<FileEntry> files;
  for (const auto& [name, state] : components) {
    check_component_name(name);
    const StateDict share = share_of(state, rank, world);
    if (rank > 0 && share.tensors.empty()) continue;
    files.push_back(write_file(folder, {.component = name, .kind = FileKind::shared, .rank = rank}, share));
  }
  return files;
}

std::vector<FileEntry> write_own(const fs::path& folder, const Components& components, int rank) {
  std::vector<FileEntry> files;
  for (const auto& [name, state] : components) {
    check_component_name(name);
    files.push_back(write_file(folder, {.component = name, .kind = FileKind::own, .rank = rank}, state));
  }
  return files;
}

void check_contents(const Manifest& manifest, const FileEntry& file) {
  const fs::path path = manifest.info.folder / file_name(file);
  const SafeTensorsFile opened(path);
  for (const StoredSlice& stored : contents_of(manifest, file, opened)) entry_of(opened, stored, path);
}

void ComponentReader::read(const Manifest& manifest, const FileEntry& file) {
  const fs::path path = manifest.info.folder / file_name(file);
  const SafeTensorsFile opened(path);
  state_.values.insert(opened.metadata().begin(), opened.metadata().end());
  for (const StoredSlice& stored : contents_of(manifest, file, opened)) {
    const TensorEntry& entry = entry_of(opened, stored, path);
    Slice target = Slice::whole(stored.slice.shape);
    if (wanted_ != nullptr)
      if (const auto part = wanted_->find(stored.name); part != wanted_->end()) target = part->second;
    if (target.shape != stored.slice.shape)
      throw CheckpointError(fmt::format("{}: '{}' is wanted as {}, but the snapshot has {}", path.string(),
                                        stored.name, target.to_string(), stored.slice.to_string()));
    if (!state_.tensors.contains(stored.name)) {
      const at::Tensor empty = at::empty(target.held_sizes(), weights::scalar_type_of(stored.dtype));
      if (target.is_whole())
        state_.tensors.set(stored.name, empty);
      else
        state_.set_slice(stored.name, empty, target);
    }
    const at::Tensor& into = state_.tensors[stored.name];
    if (target == stored.slice) {
      opened.read(entry, bytes_of_tensor(into));
    } else if (const HeldRange needed = needed_of(stored.slice, target); needed.count > 0) {
      copy_common(read_range(opened, entry, needed), stored.slice, needed, into, target);
    }
  }
}

}  // namespace bunchtrain::checkpoint
