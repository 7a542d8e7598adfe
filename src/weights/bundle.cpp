// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/bundle.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "safetensors/bundle_index.hpp"

namespace bunchtrain::weights {
namespace {

namespace fs = std::filesystem;

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

detail::BundleFile write_bytes(const fs::path& folder, const std::string& name, const std::string& bytes) {
  write_file_atomically(folder / name, bytes);
  return {.name = name, .bytes = bytes.size(), .hash = hash_hex(bytes)};
}

void require_known(const std::map<std::string, std::string>& extras) {
  for (const auto& [name, bytes] : extras)
    if (std::ranges::find(detail::kBundleExtras, name) == detail::kBundleExtras.end())
      throw ConfigError("extras", name, fmt::format("{}", fmt::join(detail::kBundleExtras, ", ")));
}

fs::path without_slash(const fs::path& folder) {
  const fs::path place = fs::absolute(folder).lexically_normal();
  return place.has_filename() ? place : place.parent_path();
}

}  // namespace

std::string write_bundle(const fs::path& folder, const Bundle& bundle) {
  const fs::path place = without_slash(folder);
  require_known(bundle.extras);
  if (fs::exists(place) && !is_bundle(place))
    throw CheckpointError(
        fmt::format("{} exists and is no bundle: it stays as it is; choose another folder", place.string()));
  std::string hash;
  with_context(place, [&] {
    const PartialFolder partial(place);
    detail::BundleIndex index{
        .content = {.model = bundle.model, .classes = bundle.classes, .metadata = bundle.metadata},
        .files = {write_weights(partial.path(), bundle)}};
    if (!bundle.card.empty())
      index.files.push_back(write_bytes(partial.path(), detail::kBundleCard, bundle.card));
    for (const auto& [name, bytes] : bundle.extras)
      index.files.push_back(write_bytes(partial.path(), name, bytes));
    detail::IndexText text = detail::format_index(index);
    write_file_atomically(partial.path() / detail::kBundleIndex, text.text);
    publish(partial.path(), place);
    hash = std::move(text.hash);
  });
  return hash;
}

Bundle read_bundle(const fs::path& folder) {
  BundleContent content = read_bundle_content(folder);
  return {.weights = read_safetensors(bundle_weights(folder)).tensors,
          .model = std::move(content.model),
          .card = std::move(content.card),
          .classes = std::move(content.classes),
          .metadata = std::move(content.metadata),
          .hash = std::move(content.hash)};
}

}  // namespace bunchtrain::weights
