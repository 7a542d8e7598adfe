// SPDX-License-Identifier: Apache-2.0
#include "virtual_sources.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOrigin = "${ORIGIN}";

std::string folder_of(const fs::path& file) {
  std::error_code error;
  return fs::absolute(file, error).parent_path().string();
}

// The folders of HDF5_VDS_PREFIX, separated by colons.
std::vector<std::string> prefixes(const std::string& origin) {
  std::vector<std::string> folders;
  const char* variable = std::getenv("HDF5_VDS_PREFIX");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    std::string folder(rest.substr(0, end));
    if (folder.starts_with(kOrigin)) folder = origin + folder.substr(kOrigin.size());
    if (!folder.empty()) folders.push_back(std::move(folder));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return folders;
}

}  // namespace

VirtualSources::VirtualSources(std::string path, SourceContext context)
    : path_(std::move(path)), context_(std::move(context)) {}

// In the order in which HDF5 tries them (H5F_prefix_open_file).
std::vector<std::string> VirtualSources::candidates(const std::string& file) const {
  std::vector<std::string> names;
  std::string name = file;
  if (fs::path(file).is_absolute()) {
    names.push_back(file);
    name = fs::path(file).filename().string();
  }
  const std::string origin = folder_of(path_);
  for (const auto& prefix : prefixes(origin)) names.push_back((fs::path(prefix) / name).string());
  names.push_back((fs::path(origin) / name).string());
  names.push_back(name);
  std::error_code error;
  if (const fs::path real = fs::canonical(path_, error); !error)
    names.push_back((real.parent_path() / name).string());
  std::vector<std::string> distinct;
  for (auto& candidate : names)
    if (std::find(distinct.begin(), distinct.end(), candidate) == distinct.end())
      distinct.push_back(std::move(candidate));
  return distinct;
}

bool VirtualSources::has(const std::string& file) const {
  const auto names = candidates(file);
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    std::error_code error;
    return fs::exists(name, error);
  });
}

const VirtualSources::Opened& VirtualSources::open(const std::string& file) {
  if (file == opened_name_) return opened_;
  opened_ = {};
  opened_name_ = file;
  const auto names = file == "." ? std::vector{path_} : candidates(file);
  std::string refused;
  for (const auto& name : names) {
    std::error_code error;
    if (fs::status(name, error).type() == fs::file_type::not_found) continue;
    try {
      opened_.file = std::make_shared<const hdf5::File>(hdf5::open_read_only(name));
      opened_.bytes = std::make_shared<const FileBytes>(name, context_.engine);
      return opened_;
    } catch (const DataError& failure) {
      opened_.file.reset();
      if (refused.empty()) refused = failure.message();
    }
  }
  opened_.is_there = !refused.empty();
  opened_.why = refused.empty() ? fmt::format("{} is not there (looked for {})", file, fmt::join(names, ", "))
                                : refused;
  return opened_;
}

VirtualSources::Found VirtualSources::open(const std::string& file, const std::string& dataset) {
  const Opened& opened = open(file);
  if (!opened.file) return {.dataset = nullptr, .why = opened.why, .is_there = opened.is_there};
  {
    const hdf5::LibraryLock lock;
    const hdf5::Object object(H5Oopen(opened.file->get(), dataset.c_str(), H5P_DEFAULT));
    if (!object)
      return {.dataset = nullptr,
              .why = fmt::format("{} has no dataset '{}'", opened.bytes->path(), dataset)};
  }
  return {.dataset = std::make_shared<const StoredDataset>(opened.file, opened.bytes, dataset, context_),
          .why = {}};
}

const VirtualSources::Found& VirtualSources::find(const std::string& file, const std::string& dataset) {
  const auto [place, is_new] = found_.try_emplace({file, dataset});
  if (is_new) place->second = open(file, dataset);
  return place->second;
}

}  // namespace bunchtrain::data
