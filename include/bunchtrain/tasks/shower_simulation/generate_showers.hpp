// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Showers of a trained generator in a file: what `bunchtrain generate showers` does.

#include <cstdint>
#include <filesystem>
#include <functional>

#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"

namespace bunchtrain::shower_simulation {

struct GenerateShowersOptions {
  std::int64_t count = 10'000;
  double lowest_energy = 10;            ///< GeV, uniform between both
  double highest_energy = 100;          ///< GeV
  double lowest_theta = 1.0471975512;   ///< rad, 60 degrees, uniform between both; variable angle only
  double highest_theta = 2.0943951024;  ///< rad, 120 degrees
  std::int64_t batch = 64;
  std::uint64_t seed = 1;

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Writes showers in the layout of the LCD files (`ECAL`, `energy`, `target` or `theta`, `mtheta`, `eta`)
/// block by block; memory does not grow with their number. The file appears when it is complete, and only if
/// every cell is a finite number. What must not be replaced is not (`require_writable_output`).
/// @throws ConfigError, DataError if it cannot be written; CheckpointError naming the showers
/// whose cells are not finite.
void generate_showers(const OutputFile& output, ShowerSource& source, const GenerateShowersOptions& options,
                      const std::function<void(std::int64_t showers)>& progress = {});

/// The same; replaces any file.
void generate_showers(const std::filesystem::path& path, ShowerSource& source,
                      const GenerateShowersOptions& options,
                      const std::function<void(std::int64_t showers)>& progress = {});

}  // namespace bunchtrain::shower_simulation
