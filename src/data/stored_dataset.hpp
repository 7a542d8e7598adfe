// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows of one HDF5 dataset as bytes: read and decoded by us where the layout allows, else by H5Dread.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "chunk_map.hpp"
#include "dataset_layout.hpp"
#include "file_bytes.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {

/// Gets consecutive rows: `rows` of them from the `first`-th of the request on; the bytes live until it
/// returns.
using RowSink = std::function<void(std::size_t first, std::size_t rows, const std::byte* bytes)>;

/// One dataset, opened and mapped.
///
/// Contiguous data are read by offset; chunks by offset, then inflated, checked and unshuffled by the calling
/// thread outside HDF5's lock. Before that way is taken, one row read by it is compared with the same row
/// from H5Dread. What we cannot decode goes through H5Dread, one thread at a time. Immutable, thread-safe.
class StoredDataset {
 public:
  /// @throws DataError: no such dataset, a filter that HDF5 lacks, truncated or damaged.
  StoredDataset(std::shared_ptr<const hdf5::File> file, std::shared_ptr<const FileBytes> bytes,
                const std::string& name);
  ~StoredDataset();
  StoredDataset(StoredDataset&&) noexcept;
  StoredDataset& operator=(StoredDataset&&) noexcept;

  const DatasetLayout& layout() const noexcept;
  /// "FILE, dataset 'NAME'".
  const std::string& where() const noexcept;
  /// The way it is read and, unless it is the fast one, why: "pread + own inflate", "H5Dread (filter lzf
  /// (32000))".
  std::string path_text() const;
  /// Rows that are decoded together; 1 if any row can be read by itself.
  std::size_t rows_per_chunk() const noexcept;
  /// @pre first + count <= rows. @throws DataError naming the rows.
  void read(std::size_t first, std::size_t count, const RowSink& sink) const;
  /// The same through H5Dread, whatever the layout: the reference of the tests and of the comparison at
  /// opening.
  void read_by_library(std::size_t first, std::size_t count, const RowSink& sink) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
