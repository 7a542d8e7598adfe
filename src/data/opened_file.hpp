// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A data file whose datasets a card names.

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "file_bytes.hpp"
#include "hdf5_library.hpp"
#include "stored_dataset.hpp"

namespace bunchtrain::data {

/// Opens datasets of one file; they outlive it. Not thread-safe until `close`.
class OpenedFile {
 public:
  /// @throws DataError: not there, not HDF5, truncated.
  explicit OpenedFile(const std::filesystem::path& path);
  ~OpenedFile();
  OpenedFile(OpenedFile&&) noexcept = default;

  const std::string& path() const noexcept { return path_; }
  /// Names of all datasets.
  const std::vector<std::string>& names() const noexcept { return names_; }
  bool has(const std::string& dataset) const;
  /// "a, b" or "no dataset at all", for messages.
  std::string list_names() const;
  /// @pre not yet closed. @throws DataError
  StoredDataset open(const std::string& dataset) const;
  const hdf5::File& file() const noexcept { return *file_; }
  /// Gives HDF5's handle back: datasets that are read through HDF5 keep their own.
  void close();
  /// Hash of size, layout and a sample of the content of `datasets`: not of name, place or time, which change
  /// when data are copied to another disk.
  std::string fingerprint(std::span<const StoredDataset* const> datasets) const;

 private:
  std::string path_;
  std::shared_ptr<const hdf5::File> file_;
  std::shared_ptr<const FileBytes> bytes_;
  std::vector<std::string> names_;
};

}  // namespace bunchtrain::data
