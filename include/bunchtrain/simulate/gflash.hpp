// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Parametrised electromagnetic showers in a sampling calorimeter: GFlash (Grindhammer
/// & Peters, hep-ex/0001020).

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/simulate/sampling_calorimeter.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::simulate {

enum class ShowerParticle { electron, photon };

struct GflashOptions {
  ShowerParticle particle = ShowerParticle::electron;
  std::array<std::int64_t, 3> cells = {25, 25, 25};  ///< x, y, z (layers)
  double lowest_energy = 10;                         ///< GeV, energies are uniform between both
  double highest_energy = 100;                       ///< GeV
  bool inclined = false;                             ///< angles uniform between both, else normal incidence
  double lowest_theta = 1.0471975512;                ///< rad, 60 degrees; 90 degrees is normal incidence
  double highest_theta = 2.0943951024;               ///< rad, 120 degrees
  SamplingCalorimeter calorimeter = {};
  std::int64_t count = 10'000;  ///< showers of the file or dataset
  std::uint64_t seed = 1;       ///< shower i is a pure function of (options, seed, i)

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Showers `first` ... `first + count - 1`: "image" [N, X, Y, Z] float32 GeV, "energy" [N] float32 GeV, and
/// if inclined "theta" [N] rad and "measured_theta" [N] rad (`ops::ecal_angle`). Uses LibTorch's threads.
///
/// Longitudinal and lateral profiles with their fluctuations and correlations, sampling fluctuations, energy
/// spots: the paper's sampling parametrisation, Moliere radius multiplied by pitch / (absorber + active) for
/// the gaps. Known faults of Geant4's class are not copied (docs/simulate.md).
NamedTensors make_gflash_showers(const GflashOptions& options, std::int64_t first, std::int64_t count);

/// A dataset that makes its showers when they are read: no file, memory as small as a batch. Its batches are
/// those of `data::ShowerDataset`, cells as (GeV x image_scale)^image_power.
struct GflashDatasetOptions {
  GflashOptions showers = {};
  std::int64_t first = 0;  ///< number of the first shower: parts with disjoint ranges are disjoint data
  double image_scale = 1;
  double image_power = 1;
};
data::DatasetPtr make_gflash_dataset(const GflashDatasetOptions& options);

/// Writes `options.count` showers in the layout of the LCD files: normal incidence ECAL in GeV, `energy`,
/// `target` (pdg id, GeV); inclined ECAL in GeV x 50, `energy`, `theta`, `mtheta`, `eta`. The file appears
/// when it is complete.
/// @throws DataError if it cannot be written;
/// ConfigError if it would replace what it must not (`require_writable_output`).
void write_gflash_showers(const OutputFile& output, const GflashOptions& options,
                          const std::function<void(std::int64_t showers)>& progress = {});
/// The same; replaces any file.
void write_gflash_showers(const std::filesystem::path& path, const GflashOptions& options,
                          const std::function<void(std::int64_t showers)>& progress = {});

}  // namespace bunchtrain::simulate
