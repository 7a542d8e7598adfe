// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Makes single showers: where the spots of the parametrisation fall among the cells.

#include <cstdint>
#include <span>

#include "bunchtrain/core/random.hpp"
#include "bunchtrain/simulate/gflash.hpp"
#include "shower_profile.hpp"

namespace bunchtrain::simulate {

/// What a shower was made from.
struct ShowerTruth {
  float energy;  ///< GeV
  float theta;   ///< rad
};

/// Immutable, thread-safe.
class ShowerGenerator {
 public:
  /// @throws ConfigError as `GflashOptions::validate`.
  explicit ShowerGenerator(const GflashOptions& options);

  /// Adds shower `number` to `image`, [X, Y, Z] GeV seen in the active layers. @pre image.size() == cells()
  ShowerTruth make(std::int64_t number, std::span<float> image) const noexcept;
  std::int64_t cells() const noexcept;
  const GflashOptions& options() const noexcept { return options_; }

 private:
  struct Axis;
  struct Step;
  Axis draw_axis(double theta, RandomSequence& random) const noexcept;
  void place_spots(const Step& step, const Axis& axis, RandomSequence& random,
                   std::span<float> image) const noexcept;
  void deposit(double x, double y, std::int64_t layer, double energy, std::span<float> image) const noexcept;

  GflashOptions options_;
  ShowerProfiles profiles_;
  double moliere_radius_;     ///< mm, widened by the gaps
  double layer_depth_;        ///< radiation lengths of one layer
  double sampling_fraction_;  ///< energy seen over energy deposited
};

}  // namespace bunchtrain::simulate
