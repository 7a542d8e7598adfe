// SPDX-License-Identifier: Apache-2.0
#pragma once
/// All files of a ShowerDataset with energy, angles and sum of every shower: what its parts share.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/features/shower_pipeline.hpp"
#include "io/engine_choice.hpp"
#include "row_ranges.hpp"
#include "shower_file.hpp"

namespace bunchtrain::data {

/// Opens the files and looks at every cell once. Memory: 16 bytes per shower. Immutable, thread-safe.
class ShowerSource {
 public:
  ShowerSource(const ShowerDatasetOptions& options, const std::vector<std::filesystem::path>& paths,
               features::ShowerCard card);

  const features::ShowerPipeline& pipeline() const noexcept { return pipeline_; }
  const std::vector<ShowerFile>& files() const noexcept { return files_; }
  const std::vector<RowRange>& ranges() const noexcept { return ranges_; }
  /// Cells along x of the images: those of the slab, or all.
  std::int64_t image_x() const noexcept { return slab_end_ - slab_begin_; }
  /// The cells of an image in a shower, in the order of the file.
  CellStretch image_cells() const noexcept;
  std::size_t rows() const noexcept { return sums_.size(); }
  bool kept(std::size_t row) const noexcept { return sums_[row] != kLeftOut; }
  std::size_t file_of(std::size_t row) const noexcept;

  float energy(std::size_t row) const noexcept { return energies_[row]; }  ///< GeV
  float sum(std::size_t row) const noexcept { return sums_[row]; }         ///< GeV, of a kept shower
  bool has_angle() const noexcept { return pipeline_.card().has_angle(); }
  float theta(std::size_t row) const noexcept { return thetas_[row]; }  ///< rad, if it has an angle
  float measured_theta(std::size_t row) const noexcept {
    return measured_[row];
  }  ///< rad, if it has an angle
  /// Showers left out because they are empty.
  RowCounts counts() const noexcept;
  /// Cell sum over energy in the middle of the kept showers of a file.
  double median_ratio(std::size_t file) const;

  const std::string& fingerprint() const noexcept { return fingerprint_; }
  const std::vector<FileIdentity>& identities() const noexcept { return identities_; }
  /// Showers read as fill values, over all files: never written.
  std::int64_t filled_rows() const noexcept { return filled_rows_; }
  const io::EngineChoice& engine() const noexcept { return engine_; }

 private:
  static constexpr float kLeftOut = -1;  // as a sum
  struct Findings;

  void collect_numbers(const Logger& logger);
  void look_at_cells(const ShowerDatasetOptions& options);
  void look_at_range(const RowRange& range, Findings& findings);
  void require_showers() const;
  void check_ratios(const Logger& logger) const;
  void take_fingerprint(bool hash_data);

  void require_slab() const;

  bool selects_;
  io::EngineChoice engine_;
  features::ShowerPipeline pipeline_;
  std::int64_t slab_begin_, slab_end_;  // along x; of several blocks: all cells
  std::vector<ShowerFile> files_;
  std::vector<RowRange> ranges_;
  std::vector<std::size_t> first_rows_;  // of each file
  std::vector<float> energies_, thetas_, measured_, sums_;
  std::vector<bool> measures_;  // per file: the angle of its images has to be measured
  std::string fingerprint_;
  std::vector<FileIdentity> identities_;
  std::int64_t filled_rows_ = 0;
};

}  // namespace bunchtrain::data
