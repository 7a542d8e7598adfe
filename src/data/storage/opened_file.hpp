// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A data file whose datasets a card names.

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "hdf5_library.hpp"
#include "io/file_bytes.hpp"
#include "stored_dataset.hpp"

namespace bunchtrain::data {

/// Opens datasets of one file; they outlive it. Not thread-safe until `close`.
class OpenedFile {
 public:
  /// @throws DataError: not there, not HDF5, truncated.
  /// @param engine as of `FileBytes`
  explicit OpenedFile(const std::filesystem::path& path, const io::Engine* engine = nullptr);
  ~OpenedFile();
  OpenedFile(OpenedFile&&) noexcept = default;

  const std::string& path() const noexcept { return path_; }
  /// Whether there is such a name: of a dataset, or of something that cannot be opened. @pre not yet closed
  bool has(const std::string& dataset) const;
  /// "a, b" or "no dataset at all", for messages. @pre not yet closed
  std::string list_names() const;
  /// @param fill_missing whether rows that were never written may be read as the fill value. @pre not yet
  /// closed. @throws DataError
  StoredDataset open(const std::string& dataset, bool fill_missing) const;
  const hdf5::File& file() const noexcept { return *file_; }
  /// Gives HDF5's handle back: datasets that are read through HDF5 keep their own.
  void close();
  /// This file, and those from which its virtual datasets come: those as if they had been opened themselves.
  ///
  /// A fingerprint is a hash of sizes, layout, chunk maps, ends and a sample of the content of `datasets`:
  /// not of name, place or time, which change when data are copied to another disk. @param hash_data every
  /// byte of the files too
  std::vector<FileIdentity> identities(std::span<const StoredDataset* const> datasets, bool hash_data) const;

 private:
  std::string path_;
  std::shared_ptr<const hdf5::File> file_;
  std::shared_ptr<const FileBytes> bytes_;
};

/// What the fingerprint of a data set takes in of one of its files.
void add_identity(const FileIdentity& file, Hasher& hasher);

}  // namespace bunchtrain::data
