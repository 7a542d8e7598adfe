// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows read by H5Dread, one thread at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "hdf5_library.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

/// Reads rows of an open dataset into `sink`. @throws DataError; IoError if the storage system is in trouble,
/// after three more tries.
void read_by_library(hid_t dataset, const DatasetLayout& layout, std::size_t first, std::size_t count,
                     const std::string& where, const RowSink& sink);

class LibraryRows final : public RowReader {
 public:
  /// @param reason why not in a faster way, for `way`.
  LibraryRows(std::shared_ptr<const hdf5::File> file, hdf5::Dataset dataset, const DatasetLayout& layout,
              std::string reason, std::vector<std::string> other_files, const std::string& where);
  ~LibraryRows() override;

  void read(std::size_t first, std::size_t count, const RowSink& sink) const override;
  std::string way() const override { return "H5Dread (" + reason_ + ")"; }
  std::size_t rows_together() const override;
  void add_to(Hasher& hasher) const override;
  std::vector<std::string> other_files() const override { return other_files_; }

 private:
  std::shared_ptr<const hdf5::File> file_;
  hdf5::Dataset dataset_;
  DatasetLayout layout_;
  std::string reason_;
  std::vector<std::string> other_files_;
  std::string where_;
};

}  // namespace bunchtrain::data
