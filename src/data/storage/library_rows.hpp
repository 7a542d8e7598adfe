// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows read by H5Dread, one thread at a time.

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "hdf5_library.hpp"
#include "io/file_stamp.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

/// Fills `rows` with whole rows of an open dataset, from the `first`-th on. @throws DataError naming the rows;
/// IoError if the storage system is in trouble, after three more tries.
void read_by_library(hid_t dataset, const DatasetLayout& layout, std::size_t first, std::span<std::byte> rows,
                     const std::string& where);

/// The rows of a dataset as H5Dread gives them, one behind the other: offsets are those of whole rows.
///
/// It stays open as long as there is room for files; those not read for long are closed, and opened again when they
/// are needed. Virtual ones stay open: HDF5 would look for their sources again.
class LibraryBytes final : public ByteSource {
 public:
  /// @param path of the file that holds it. @param opened_path of the file by which it was opened: a link may lead from
  /// there
  LibraryBytes(std::shared_ptr<const hdf5::File> file, hdf5::Dataset dataset, const DatasetLayout& layout,
               std::string path, std::string opened_path, std::string where);
  ~LibraryBytes() override;

  const std::string& path() const noexcept override { return watch_.path(); }
  void require_unchanged(Look look) const override;
  void read(std::uint64_t offset, std::span<std::byte> out) const override;
  bool is_file() const noexcept override { return false; }

 private:
  /// Of those that may be closed, the one used last in front. Under the LibraryLock.
  using Order = std::list<const LibraryBytes*>;
  static Order& order();
  static void make_room();
  bool may_close() const noexcept { return layout_.storage != H5D_VIRTUAL; }
  void close() const;
  void use() const;

  mutable std::shared_ptr<const hdf5::File> file_;
  mutable hdf5::Dataset dataset_;
  mutable Order::iterator place_;  ///< if it is open and may be closed
  DatasetLayout layout_;
  FileWatch watch_;
  std::string opened_path_;
  std::string where_;
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
