// SPDX-License-Identifier: Apache-2.0
#include "run_leftovers.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <vector>

namespace bunchtrain::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPartial = ".partial-";  // and the writer's process

/// `bunchtrain report` may be writing the page as well, on any machine, which takes it less than an hour.
bool is_abandoned(const fs::path& page, std::string_view writer) {
  return !fs::exists(fs::path("/proc") / writer) ||
         fs::last_write_time(page) < fs::file_time_type::clock::now() - std::chrono::hours(1);
}

/// Bundles are folders, made beside their place.
bool is_bundle_leftover(const fs::path& folder) {
  const std::string name = folder.filename().string();
  const std::string_view written = std::string_view(name).substr(0, name.find(kPartial));
  return written.size() < name.size() && (written == "bundle" || written.starts_with("bundle-"));
}

bool is_leftover(const fs::path& file) {
  constexpr std::array<std::string_view, 6> kOwn = {"run.json",    "card.toml",     "convolutions.json",
                                                    "curves.json", "sections.json", ".writable"};
  const std::string name = file.filename().string();
  const auto end = name.find(kPartial);
  if (end == std::string::npos) return false;
  const std::string_view written = std::string_view(name).substr(0, end);
  if (std::ranges::find(kOwn, written) != kOwn.end()) return true;
  return written == "report.html" && is_abandoned(file, std::string_view(name).substr(end + kPartial.size()));
}

}  // namespace

void remove_leftovers(const RunFolder& folder) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path()))
    if (entry.is_directory() ? is_bundle_leftover(entry.path())
                             : entry.is_regular_file() && is_leftover(entry.path()))
      leftovers.push_back(entry.path());
  for (const fs::path& leftover : leftovers) fs::remove_all(leftover);
}

}  // namespace bunchtrain::train
