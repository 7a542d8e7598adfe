// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One HDF5 file seen through a data card: raw columns of any range of rows.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/detail/device_plan.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {

/// What is read of a file: everything the inputs need, only what decides which rows are kept, or what is left to the host where a
/// device takes the particles.
enum class ColumnSet { all, selection, beside_device };

/// A column that only label, weight or split need and that a file does not have.
struct MissingColumn {
  std::string name;     ///< "jet.type"
  std::string message;  ///< where it was looked for and what there is
};

/// The datasets that a card reads, opened and mapped. Immutable, thread-safe.
class JetFile {
 public:
  /// @param class_value the label value of all its jets, for a card whose label is the file.
  /// @throws DataError: see JetDataset; also if the datasets differ in their number of rows, or hold none.
  /// @param engine as of `FileBytes`
  JetFile(const std::filesystem::path& path, const features::FeaturePipeline& pipeline,
          std::optional<std::int64_t> class_value = std::nullopt, const io::Engine* engine = nullptr);
  ~JetFile();
  JetFile(JetFile&&) noexcept;

  const std::string& path() const noexcept;
  /// Without them the file is unlabelled, its jets weigh the same, or are split by row.
  const std::vector<MissingColumn>& missing() const noexcept;
  std::size_t rows() const noexcept;
  /// Rows that are best read together: chunks of the particle dataset, several of them if they are small.
  std::size_t rows_per_range() const noexcept;
  /// Adds the pieces that `decode` needs.
  void plan(std::size_t first, std::size_t count, ColumnSet set, ReadPlan& plan) const;
  /// Into `raw`, whose memory is used again: fresh pages for every range cost more than widening its values.
  /// @throws DataError
  void decode(std::size_t first, std::size_t count, ColumnSet set, PlannedBytes& bytes,
              features::RawColumns& raw) const;
  /// Both, with fetching between.
  void read(std::size_t first, std::size_t count, ColumnSet set, features::RawColumns& raw) const;
  /// Why a device cannot take the particles: "particles: pread + own inflate"; empty if it can.
  std::string why_not_on_device() const;
  /// Adds the pieces of datasets with particles, and where columns lie in them.
  void plan_on_device(std::size_t first, std::size_t count, DevicePlan& plan) const;
  /// One line per dataset: "table/table: pread + own inflate".
  std::vector<std::string> paths() const;
  /// As `OpenedFile::identities`.
  std::vector<FileIdentity> identities(bool hash_data) const;
  /// Rows of which something is read as the fill value because it was never written (`missing = "fill"`).
  RowSpans filled_rows() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
