// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/detail/overlap.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::data {
namespace {

using Inode = std::pair<dev_t, ino_t>;

std::optional<Inode> inode_of(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return Inode{found.st_dev, found.st_ino};
}

bool is_same(const FileIdentity& a, const FileIdentity& b) {
  if (!a.fingerprint.empty() && a.fingerprint == b.fingerprint) return true;
  return a.path == b.path || is_same_file(a.path, b.path);
}

/// The same list of files.
bool are_alike(const std::vector<FileIdentity>& a, const std::vector<FileIdentity>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), is_same);
}

bool are_parts_of_one_split(const DatasetSummary& a, const DatasetSummary& b) {
  return !a.part.name.empty() && !b.part.name.empty() && a.part.name != b.part.name &&
         a.part.seed == b.part.seed && a.part.valid_fraction == b.part.valid_fraction &&
         are_alike(a.files, b.files);
}

std::string count_others(const std::vector<SharedFile>& shared) {
  return shared.size() == 1 ? "" : fmt::format(" ({} files in all)", shared.size());
}

/// Copies among the files of one split.
std::vector<SharedFile> copies(const std::vector<FileIdentity>& files) {
  std::map<std::string, std::string> seen;
  std::vector<SharedFile> found;
  for (const FileIdentity& file : files) {
    if (file.fingerprint.empty()) continue;
    const auto [first, is_new] = seen.emplace(file.fingerprint, file.path);
    if (!is_new) found.push_back({first->second, file.path});
  }
  return found;
}

}  // namespace

std::vector<SharedFile> overlap(const DatasetSummary& first, const DatasetSummary& second) {
  if (are_parts_of_one_split(first, second)) return {};
  std::map<std::string, const FileIdentity*> by_content;
  std::map<Inode, const FileIdentity*> by_inode;
  for (const FileIdentity& file : first.files) {
    if (!file.fingerprint.empty()) by_content.emplace(file.fingerprint, &file);
    if (const auto inode = inode_of(file.path)) by_inode.emplace(*inode, &file);
  }
  std::vector<SharedFile> shared;
  for (const FileIdentity& file : second.files) {
    const auto content = by_content.find(file.fingerprint);
    if (content != by_content.end()) {
      shared.push_back({content->second->path, file.path});
      continue;
    }
    // Fingerprints are of what a card reads: another card sees another one in the same file.
    const auto inode = inode_of(file.path);
    const auto known = inode ? by_inode.find(*inode) : by_inode.end();
    if (known != by_inode.end()) shared.push_back({known->second->path, file.path});
  }
  return shared;
}

void require_disjoint(const Dataset& train, const Dataset& valid) {
  const DatasetSummary &trained = train.summary(), &judged = valid.summary();
  if (const auto shared = overlap(trained, judged); !shared.empty()) {
    const auto& [first, second] = shared.front();
    const std::string name = first == second ? first : fmt::format("{} (also named {})", first, second);
    throw DataError(
        fmt::format("{} is both trained and validated on{}: what is learned by heart would look like what is "
                    "understood; give other files to {}, or none, and a part of {} is kept for it",
                    name, count_others(shared), setting("valid"), setting("data")));
  }
  if (!are_parts_of_one_split(trained, judged)) return;
  if (const auto twice = copies(trained.files); !twice.empty())
    throw DataError(fmt::format(
        "{} is a copy of {}{}: its rows would be in the training and in the validation part; name it once",
        twice.front().second, twice.front().first, count_others(twice)));
}

}  // namespace bunchtrain::data
