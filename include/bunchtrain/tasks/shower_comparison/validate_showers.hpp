// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Shower files, or the showers of a generator, against a reference: what `bunchtrain validate showers` does.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/features/shower_card.hpp"
#include "bunchtrain/metrics/shower_comparison.hpp"

namespace bunchtrain::shower_comparison {

/// What makes the showers of a candidate that is no file.
struct CandidateGenerator {
  std::array<std::int64_t, 3> cells = {};
  bool needs_theta = false;
  /// [B, X, Y, Z] GeV on the CPU. @param showers [B] int64: numbers that key the noise. @param energy [B] GeV.
  /// @param theta [B] rad, undefined unless needed.
  std::function<at::Tensor(const at::Tensor& showers, const at::Tensor& energy, const at::Tensor& theta)>
      make = {};
};

/// From a run folder or a weight file to its generator. @throws ConfigError, CheckpointError
using OpenGenerator = std::function<CandidateGenerator(const std::string& path)>;

struct ValidateShowersOptions {
  std::vector<std::string> reference = {};  ///< HDF5 files and globs
  /// HDF5 files and globs of showers; or one run folder, safetensors or Keras file of a generator, which then
  /// makes showers with the energies and angles of the reference.
  std::vector<std::string> candidate = {};
  std::string reference_card = "auto";  ///< built-in name, path of a .toml, or recognised
  std::string candidate_card = "auto";
  std::vector<double> energy_edges = {};  ///< GeV; empty: `energy_bins` bins over the reference's energies
  std::int64_t energy_bins = 4;
  /// rad; empty: three bins over the reference's angles if both samples have some.
  std::vector<double> theta_edges = {};
  double hit_threshold = 2e-4;   ///< GeV
  std::int64_t max_showers = 0;  ///< of each sample, the first ones; 0 = all
  bool measured_theta = true;    ///< a generator gets the measured angle of the reference, else the true one
  bool allow_plugins = false;    ///< HDF5 filter plug-ins (they load code named by the file)
  std::int64_t batch = 64;
  int threads = 1;  ///< that decode
  /// For a candidate that is a generator (`shower_simulation::open_generator`); without it only files compare.
  OpenGenerator open_generator = {};
  Logger logger = {};

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Called now and then: "reference", 1200 of 4000 showers.
using ValidateProgress = std::function<void(std::string_view sample, std::int64_t showers, std::int64_t of)>;

/// Reads both samples once more after the dataset's own first pass; memory does not grow with them.
/// @throws ConfigError for samples of other cells (both are said) or a generator of another grid; DataError
/// for unsound files and for bins of the reference without a candidate; CheckpointError for weights.
metrics::ShowerComparison validate_showers(const ValidateShowersOptions& options,
                                           const ValidateProgress& progress = {});

/// Whether a path is a run folder or the weights of a network, not a file of showers.
bool is_generator(const std::string& path);

/// Where the cells of a card lie: one grid, layers of other grids, or a cylinder.
metrics::CellGeometry geometry_of(const features::ShowerCard& card);

/// "fraction=0.05,profile=0.1" with the names of `metrics::ShowerTolerances`. @throws ConfigError naming what
/// is not understood.
metrics::ShowerTolerances parse_tolerances(std::string_view text);

}  // namespace bunchtrain::shower_comparison
