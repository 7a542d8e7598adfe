// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/bundle_content.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/weights/bundle_files.hpp"
#include "bundle_index.hpp"

namespace bunchtrain::weights {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLargestText = 16U << 20;

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

}  // namespace

BundleContent read_bundle_content(const fs::path& folder) {
  const fs::path path = folder / detail::kBundleIndex;
  detail::BundleIndex index = detail::parse_index(read_text(path), path.string());
  for (const detail::BundleFile& file : index.files) {
    verify_file(folder / file.name, file);
    if (file.name == detail::kBundleCard) index.content.card = read_text(folder / file.name);
  }
  return std::move(index.content);
}

std::vector<std::string> bundle_files(const fs::path& folder) {
  const fs::path path = folder / detail::kBundleIndex;
  std::vector<std::string> names = {detail::kBundleIndex};
  for (const detail::BundleFile& file : detail::parse_index(read_text(path), path.string()).files)
    names.push_back(file.name);
  return names;
}

fs::path bundle_weights(const fs::path& folder) { return folder / detail::kBundleWeights; }

bool is_bundle(const fs::path& path) noexcept {
  std::error_code error;
  return fs::exists(path / detail::kBundleIndex, error);
}

}  // namespace bunchtrain::weights
