// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One HDF5 file seen through a shower card: cells of any range of showers, energies and angles of all.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/features/shower_pipeline.hpp"
#include "storage/element_type.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {

/// Gets the cells, in the file's unit, of `rows` consecutive showers from the `first`-th of the request on;
/// they live until it returns.
using CellSink = std::function<void(std::size_t first, std::size_t rows, const float* cells)>;

/// So many cells of each shower, from one on, in the order of the file.
struct CellStretch {
  std::size_t first = 0, count = 0;
};

/// Immutable, thread-safe. Memory: 12 bytes per shower.
class ShowerFile {
 public:
  /// @throws DataError: see ShowerDataset; also energies that are not above 0, angles that are not finite.
  /// @param engine as of `FileBytes`
  ShowerFile(const std::filesystem::path& path, const features::ShowerPipeline& pipeline,
             const io::Engine* engine = nullptr);

  const std::string& path() const noexcept { return file_.path(); }
  std::size_t rows() const noexcept { return energies_.size(); }
  /// Showers that are best read together: whole chunks of a few hundred KiB at least.
  std::size_t rows_per_range() const noexcept { return rows_per_range_; }
  /// Adds the pieces that `decode` needs. @param cells of each shower; where not all, the card has one block
  void plan(std::size_t first, std::size_t count, const CellStretch& cells, ReadPlan& plan) const;
  /// The sink gets these cells of each shower. @throws DataError
  void decode(std::size_t first, std::size_t count, const CellStretch& cells, PlannedBytes& bytes,
              const CellSink& sink) const;
  CellStretch all_cells() const noexcept { return {0, num_cells_}; }
  /// All cells, planned, fetched and decoded.
  void read(std::size_t first, std::size_t count, const CellSink& sink) const;

  const std::vector<float>& energies() const noexcept { return energies_; }  ///< GeV
  const std::vector<float>& thetas() const noexcept { return thetas_; }      ///< rad; may be empty
  const std::vector<float>& measured_thetas() const noexcept {
    return measured_thetas_;
  }  ///< rad; may be empty

  /// One line per dataset: "ECAL: pread + own inflate".
  std::vector<std::string> paths() const;
  /// As `OpenedFile::identities`.
  std::vector<FileIdentity> identities(bool hash_data) const {
    return file_.identities(all_datasets(), hash_data);
  }
  /// As `JetFile::filled_rows`.
  RowSpans filled_rows() const;

 private:
  /// Cells of one dataset and their place among those of a shower.
  struct Cells {
    StoredDataset dataset;
    ColumnLayout layout;
    std::size_t first_cell;
  };

  void check_fit(const features::ShowerCard& card) const;
  void open_cells(const features::ShowerCard& card);
  std::vector<float> read_column(const features::ShowerColumn& column, double factor);
  void check_numbers() const;
  void choose_range();
  void decode_stretch(std::size_t first, std::size_t count, const CellStretch& cells, PlannedBytes& bytes,
                      const CellSink& sink) const;
  RowPart part_of(const CellStretch& cells) const;
  void assemble(std::size_t first, std::size_t count, PlannedBytes& bytes, const CellSink& sink) const;
  std::vector<const StoredDataset*> all_datasets() const;

  OpenedFile file_;
  bool fill_missing_;
  std::vector<Cells> cells_;
  std::vector<StoredDataset> columns_;
  std::size_t num_cells_ = 0;
  std::size_t rows_per_range_ = 1;
  std::vector<float> energies_, thetas_, measured_thetas_;
};

}  // namespace bunchtrain::data
