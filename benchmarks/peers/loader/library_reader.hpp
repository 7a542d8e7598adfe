// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What one writes with HDF5 alone: hyperslabs of rows by H5Dread, then the same
/// columns and features as ours.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "hdf5_library.hpp"
#include "storage/dataset_layout.hpp"
#include "storage/element_type.hpp"

namespace loader_benchmark {

/// Reads the columns of a card by H5Dread. HDF5 calls of several threads take turns, as in the library
/// itself; the rest runs in parallel.
class LibraryReader {
 public:
  LibraryReader(const std::string& path, const bunchtrain::features::FeaturePipeline& pipeline);

  std::int64_t rows() const noexcept { return rows_; }
  /// Whole chunks of the particle dataset, at least 64 rows.
  std::int64_t rows_per_block() const;
  /// One H5Dread per row and dataset.
  bunchtrain::features::RawColumns read_each(std::span<const std::int64_t> rows) const;
  /// One H5Dread per dataset.
  bunchtrain::features::RawColumns read_block(std::int64_t first, std::int64_t count) const;

 private:
  struct Column {
    std::string name;
    bool per_particle;
    bunchtrain::data::ColumnLayout layout;
  };
  struct Source {
    bunchtrain::hdf5::Dataset dataset;
    bunchtrain::hdf5::Datatype type;
    bunchtrain::data::DatasetLayout layout;
    std::vector<Column> columns;
  };

  std::size_t open(const std::string& dataset);
  void read_rows(const Source& source, std::int64_t first, std::int64_t count, std::byte* out) const;
  bunchtrain::features::RawColumns widen_all(std::int64_t count,
                                             const std::vector<std::vector<std::byte>>& bytes) const;

  bunchtrain::hdf5::File file_;
  std::string path_;
  std::vector<Source> sources_;
  std::int64_t rows_ = 0, slots_ = 0;
};

}  // namespace loader_benchmark
