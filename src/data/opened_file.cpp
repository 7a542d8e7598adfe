// SPDX-License-Identifier: Apache-2.0
#include "opened_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/hash.hpp"
#include "contents_of.hpp"

namespace bunchtrain::data {

OpenedFile::OpenedFile(const std::filesystem::path& path)
    : path_(path.string()),
      file_(std::make_shared<const hdf5::File>(hdf5::open_read_only(path_))),
      bytes_(std::make_shared<const FileBytes>(path_)),
      names_(list_datasets(*file_)) {}

OpenedFile::~OpenedFile() { close(); }

bool OpenedFile::has(const std::string& dataset) const {
  return std::find(names_.begin(), names_.end(), dataset) != names_.end();
}

std::string OpenedFile::list_names() const {
  return names_.empty() ? "no dataset at all" : fmt::format("{}", fmt::join(names_, ", "));
}

StoredDataset OpenedFile::open(const std::string& dataset) const { return {file_, bytes_, dataset}; }

void OpenedFile::close() {
  const hdf5::LibraryLock lock;
  file_.reset();
}

std::string OpenedFile::fingerprint(std::span<const StoredDataset* const> datasets) const {
  Hasher hasher;
  const auto add = [&hasher](const std::string& text) { hasher.update(std::as_bytes(std::span(text))); };
  add(fmt::format("{} bytes", bytes_->size()));
  for (const StoredDataset* dataset : datasets) {
    const auto& layout = dataset->layout();
    const std::size_t rows = layout.rows();
    add(fmt::format("{} {}", layout.name, to_string(layout)));
    for (const std::size_t row : {std::size_t{0}, rows / 3, 2 * rows / 3, rows - 1})
      dataset->read(row, 1, [&](std::size_t, std::size_t, const std::byte* bytes) {
        hasher.update({bytes, layout.row_bytes()});
      });
  }
  return hasher.hex();
}

}  // namespace bunchtrain::data
