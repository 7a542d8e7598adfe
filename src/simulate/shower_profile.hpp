// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Mean profiles and their fluctuations of electron showers in a sampling calorimeter: hep-ex/0001020,
/// the formulas as listed in docs/simulate.md.
///
/// Depths t are in radiation lengths, radii r in Moliere radii of the effective medium.

#include "bunchtrain/core/random.hpp"
#include "bunchtrain/simulate/sampling_calorimeter.hpp"

namespace bunchtrain::simulate {

/// Energy along the axis of one shower: dE/dt = E beta (beta t)^(alpha-1) exp(-beta t) / Gamma(alpha).
struct LongitudinalProfile {
  double maximum;       ///< T, depth of the maximum
  double alpha;         ///< shape of the energy
  double spot_maximum;  ///< T of the number of spots
  double spot_alpha;
  double mean_alpha;  ///< exp <ln alpha>, of all showers of this energy
  double spots;       ///< number of spots of the whole shower

  /// Fractions of the energy and of the spots before depth `t`.
  double energy_before(double t) const noexcept;
  double spots_before(double t) const noexcept;
  /// tau: depth in units of that of the centre of gravity, scaled so that the mean shower of this energy has
  /// its maximum at 1.
  double relative_depth(double t) const noexcept;
};

/// Density of spots around the axis: p 2 r Rc^2 / (r^2 + Rc^2)^2 and (1 - p) the same with Rt.
struct RadialProfile {
  double core;
  double tail;
  double core_weight;
};

/// The formulas for one calorimeter. Immutable, thread-safe.
class ShowerProfiles {
 public:
  explicit ShowerProfiles(const SamplingCalorimeter& calorimeter);

  /// Draws ln T and ln alpha, correlated, for an electron of `energy` GeV.
  LongitudinalProfile draw(double energy, RandomSequence& random) const noexcept;
  /// Profile around the axis at `relative_depth` tau.
  RadialProfile radial(double energy, double relative_depth) const noexcept;
  const EffectiveMedium& medium() const noexcept { return medium_; }

 private:
  EffectiveMedium medium_;
  double sampling_resolution_;
};

}  // namespace bunchtrain::simulate
