// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Rows of a virtual dataset, read from its sources.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataset_layout.hpp"
#include "row_reader.hpp"
#include "stored_dataset.hpp"

namespace bunchtrain::data {

/// A run of rows that lie in rows of another dataset.
struct VirtualPiece {
  RowSpan rows;
  std::uint64_t source_first = 0;
  std::shared_ptr<const StoredDataset> source;
};

/// What is known of a virtual dataset when all its sources have been looked at.
struct VirtualContents {
  std::vector<VirtualPiece> pieces;  ///< by row; those without a source are left out
  bool by_rows = true;               ///< `pieces` say everything: whole rows, no overlap, bytes of one type
  std::vector<AbsentRows> absent;
  std::vector<std::string> files;         ///< of the sources
  std::vector<std::uint64_t> first_rows;  ///< that come from each source
};

/// Looks at every source, one after the other. The caller holds a LibraryLock. @param path of the file that
/// holds the dataset.
/// @throws DataError if a source is damaged or its filter is missing, or a numbered file is left out.
VirtualContents look_at_sources(hid_t create, const DatasetLayout& layout, const std::string& path,
                                const SourceContext& context, const std::string& where);

class VirtualRows final : public RowReader {
 public:
  VirtualRows(const DatasetLayout& layout, VirtualContents contents);

  void plan(std::size_t first, std::size_t count, ReadPlan& plan) const override;
  void decode(std::size_t first, std::size_t count, PlannedBytes& bytes, const RowSink& sink) const override;
  std::string way() const override;
  std::size_t rows_together() const override;
  void add_to(Hasher& hasher) const override;
  std::vector<std::shared_ptr<const StoredDataset>> sources() const override;
  std::vector<std::string> other_files() const override { return contents_.files; }

 private:
  struct Run;
  std::vector<Run> runs(std::size_t first, std::size_t count) const;

  std::vector<std::byte> fill_;
  std::size_t row_bytes_;
  VirtualContents contents_;
};

}  // namespace bunchtrain::data
