// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows read by H5Dread, one thread at a time.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "hdf5_library.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

/// Fills `rows` with whole rows of an open dataset, from the `first`-th on. @throws DataError naming the rows;
/// IoError if the storage system is in trouble, after three more tries.
void read_by_library(hid_t dataset, const DatasetLayout& layout, std::size_t first, std::span<std::byte> rows,
                     const std::string& where);

/// The rows of a dataset as H5Dread gives them, one behind the other: offsets are those of whole rows.
class LibraryBytes final : public ByteSource {
 public:
  LibraryBytes(std::shared_ptr<const hdf5::File> file, hdf5::Dataset dataset, const DatasetLayout& layout,
               std::string path, std::string where);
  ~LibraryBytes() override;

  const std::string& path() const noexcept override { return path_; }
  void read(std::uint64_t offset, std::span<std::byte> out) const override;
  bool is_file() const noexcept override { return false; }

 private:
  std::shared_ptr<const hdf5::File> file_;
  hdf5::Dataset dataset_;
  DatasetLayout layout_;
  std::string path_, where_;
};

class LibraryRows final : public RowReader {
 public:
  /// @param reason why not in a faster way, for `way`.
  LibraryRows(std::unique_ptr<const LibraryBytes> bytes, const DatasetLayout& layout, std::string reason,
              std::vector<std::string> other_files);

  void plan(std::size_t first, std::size_t count, ReadPlan& plan) const override;
  void decode(std::size_t first, std::size_t count, PlannedBytes& bytes, const RowSink& sink) const override;
  std::string way() const override { return "H5Dread (" + reason_ + ")"; }
  std::size_t rows_together() const override;
  void add_to(Hasher& hasher) const override;
  std::vector<std::string> other_files() const override { return other_files_; }

 private:
  std::unique_ptr<const LibraryBytes> bytes_;
  DatasetLayout layout_;
  std::string reason_;
  std::vector<std::string> other_files_;
};

}  // namespace bunchtrain::data
