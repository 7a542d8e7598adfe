// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows of one HDF5 dataset as bytes: read and decoded by us where the layout allows, else by H5Dread.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "decoded_chunks.hpp"
#include "hdf5_library.hpp"
#include "io/file_bytes.hpp"
#include "row_reader.hpp"

namespace bunchtrain::data {

/// For datasets that are sources of a virtual one.
struct SourceContext {
  int depth = 0;                       ///< of virtual datasets around it
  const io::Engine* engine = nullptr;  ///< of the file of the virtual one
  /// shared, so that memory does not grow with the sources.
  std::shared_ptr<DecodedChunks> decoded = nullptr;
};

/// One dataset, opened and mapped.
///
/// Contiguous data are read by offset; chunks by offset, then decompressed, checked and unshuffled by the
/// calling thread outside HDF5's lock; virtual datasets from their sources in the same ways. Before a way of
/// our own is taken, one row read by it is compared with the same row from H5Dread. What we cannot decode
/// goes through H5Dread, one thread at a time. Immutable, thread-safe.
///
/// Rows that were never written, or whose source is missing, are known from the beginning (`absent`): HDF5
/// reads them as fill values without a word.
class StoredDataset {
 public:
  /// @throws DataError: no such dataset, written by a newer HDF5, a filter that is
  /// missing, truncated, damaged.
  StoredDataset(std::shared_ptr<const hdf5::File> file, std::shared_ptr<const FileBytes> bytes,
                const std::string& name, SourceContext context = {});
  ~StoredDataset();
  StoredDataset(StoredDataset&&) noexcept;
  StoredDataset& operator=(StoredDataset&&) noexcept;

  const DatasetLayout& layout() const noexcept;
  /// "FILE, dataset 'NAME'"; where an external link leads to another file, that one is named too.
  const std::string& where() const noexcept;
  /// The file that holds it.
  const std::string& path() const noexcept;
  /// The datasets from which a virtual one comes where we read it ourselves; those of other
  /// virtual ones in their place.
  std::vector<std::shared_ptr<const StoredDataset>> sources() const;
  /// Files that it is read from beside `path`: sources, external values.
  std::vector<std::string> other_files() const;
  /// The way it is read and, unless it is the fast one, why: "pread + own inflate",
  /// "H5Dread (filter szip (4))".
  std::string path_text() const;
  /// As `RowReader::why_not_plain` and `plan_as_stored`; nothing for no rows.
  std::string why_not_plain() const;
  void plan_as_stored(std::size_t first, std::size_t count, ReadPlan& plan, ShuffledBlocks& shuffled) const;
  /// Rows that are decoded together; 1 if any row can be read by itself.
  std::size_t rows_per_chunk() const noexcept;
  /// Rows that are read as the fill value because there is nothing, by reason.
  const std::vector<AbsentRows>& absent() const noexcept;
  RowSpans absent_rows() const;
  /// @param fill whether rows that are absent may be read as the fill value
  /// @throws DataError naming the absent rows, why, and the ways out.
  void require_rows(bool fill) const;
  /// As `RowReader::plan`; nothing for no rows.
  void plan(std::size_t first, std::size_t count, ReadPlan& plan) const;
  /// As `RowReader::decode`.
  void decode(std::size_t first, std::size_t count, PlannedBytes& bytes, const RowSink& sink) const;
  /// As `RowReader::plan_parts` and `decode_parts`.
  void plan_parts(std::size_t first, std::size_t count, const RowPart& part, ReadPlan& plan) const;
  void decode_parts(std::size_t first, std::size_t count, const RowPart& part, PlannedBytes& bytes,
                    const RowSink& sink) const;
  /// Both with fetching between, a few MiB of rows at a time.
  /// @pre first + count <= rows. @throws DataError naming the rows.
  void read(std::size_t first, std::size_t count, const RowSink& sink) const;
  /// The same, in our own way also where H5Dread was asked for: what a fingerprint takes in.
  void read_stored(std::size_t first, std::size_t count, const RowSink& sink) const;
  /// The same through H5Dread, whatever the layout: the reference of the tests and of
  /// the comparison at opening.
  void read_by_library(std::size_t first, std::size_t count, const RowSink& sink) const;
  /// What almost any change moves: size of the file, layout, addresses of chunks, ends of the values. Not
  /// name, place or time of the file.
  void add_structure(Hasher& hasher) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
