// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/bundle.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "bundle_index.hpp"

namespace bunchtrain::weights {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLargestText = 16U << 20;

/// Runs `action`; what the file system refuses is an error that says of which bundle.
template <class Action>
void with_context(const fs::path& folder, Action&& action) {
  try {
    action();
  } catch (const fs::filesystem_error& error) {
    throw_system_fault<CheckpointError>(
        fmt::format("cannot write the bundle {}: {}; choose another folder or make it writable",
                    folder.string(), error.what()),
        error.code().value());
  }
}

/// A folder beside the bundle's place, removed unless it was published.
class PartialFolder {
 public:
  explicit PartialFolder(const fs::path& place)
      : path_(fmt::format("{}.partial-{}", place.string(), ::getpid())) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~PartialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;
  const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

/// In one step where the file system can exchange two names. What was there is at `partial` afterwards.
void publish(const fs::path& partial, const fs::path& place) {
  if (!fs::exists(place)) {
    fs::rename(partial, place);
  } else if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) != 0) {
    const fs::path replaced = partial.string() + ".replaced";
    fs::rename(place, replaced);
    fs::rename(partial, place);
    fs::rename(replaced, partial);
  }
  synchronise_folder(place.parent_path());
}

detail::BundleFile write_weights(const fs::path& folder, const Bundle& bundle) {
  SafeTensors content{.tensors = bundle.weights, .metadata = {}};
  if (!bundle.classes.empty())
    content.metadata["classes"] = fmt::format("{}", fmt::join(bundle.classes, ","));
  if (!bundle.model.empty()) content.metadata["model"] = bundle.model;
  const WrittenFile written = write_safetensors(folder / detail::kBundleWeights, content);
  return {.name = detail::kBundleWeights, .bytes = written.bytes, .hash = written.hash};
}

detail::BundleFile write_card(const fs::path& folder, const std::string& card) {
  write_file_atomically(folder / detail::kBundleCard, card);
  return {.name = detail::kBundleCard, .bytes = card.size(), .hash = hash_hex(card)};
}

std::uintmax_t size_of(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  if (error || !fs::is_regular_file(path))
    throw CheckpointError(
        fmt::format("{} is missing: the bundle is not complete, take another copy", path.string()));
  return bytes;
}

std::string read_text(const fs::path& path) {
  if (const std::uintmax_t bytes = size_of(path); bytes > kLargestText)
    throw CheckpointError(
        fmt::format("{} has {} bytes: that is none of a bundle's files", path.string(), bytes));
  return read_text_file(path);
}

void verify_file(const fs::path& path, const detail::BundleFile& file) {
  if (const std::uintmax_t bytes = size_of(path); bytes != file.bytes)
    throw CheckpointError(
        fmt::format("{} has {} bytes instead of {}: take another copy", path.string(), bytes, file.bytes));
  const std::string hash = hash_file(path);
  if (hash != file.hash)
    throw CheckpointError(fmt::format("{} is damaged: its checksum is {} instead of {}; take another copy",
                                      path.string(), hash, file.hash));
}

fs::path without_slash(const fs::path& folder) {
  const fs::path place = fs::absolute(folder).lexically_normal();
  return place.has_filename() ? place : place.parent_path();
}

}  // namespace

std::string write_bundle(const fs::path& folder, const Bundle& bundle) {
  const fs::path place = without_slash(folder);
  if (fs::exists(place) && !is_bundle(place))
    throw CheckpointError(
        fmt::format("{} exists and is no bundle: it stays as it is; choose another folder", place.string()));
  std::string hash;
  with_context(place, [&] {
    const PartialFolder partial(place);
    detail::BundleIndex index{.bundle = bundle, .files = {write_weights(partial.path(), bundle)}};
    if (!bundle.card.empty()) index.files.push_back(write_card(partial.path(), bundle.card));
    detail::IndexText text = detail::format_index(index);
    write_file_atomically(partial.path() / detail::kBundleIndex, text.text);
    publish(partial.path(), place);
    hash = std::move(text.hash);
  });
  return hash;
}

Bundle read_bundle(const fs::path& folder) {
  const fs::path path = folder / detail::kBundleIndex;
  detail::BundleIndex index = detail::parse_index(read_text(path), path.string());
  for (const detail::BundleFile& file : index.files) {
    verify_file(folder / file.name, file);
    if (file.name == detail::kBundleCard) index.bundle.card = read_text(folder / file.name);
  }
  index.bundle.weights = read_safetensors(folder / detail::kBundleWeights).tensors;
  return std::move(index.bundle);
}

bool is_bundle(const fs::path& path) noexcept {
  std::error_code error;
  return fs::exists(path / detail::kBundleIndex, error);
}

}  // namespace bunchtrain::weights
