// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Two samples of showers compared: what a fast simulation is judged by.

#include <string>
#include <vector>

#include "bunchtrain/metrics/shower_statistics.hpp"

namespace bunchtrain::metrics {

/// The published scalar (`GANutils.metric` of svalleco/3Dgan), lower is better: mean over the energy bins of
/// its three parts, which are relative differences.
///
/// Two parts differ from the original, which divides by every profile bin and pairs each generated shower
/// with a real one: bins without energy are left out, and angles are compared as means.
struct ShowerScore {
  double moments = 0;   ///< half the sum over first and second moments of the mean over axes of |dM / M|
  double profiles = 0;  ///< mean over axes of the mean over bins of |P - G| / P, bins with P > 0
  double angle = 0;     ///< |d theta| / theta, mean over angle bins if there are some; 0 without angles
  double total() const noexcept { return moments + profiles + angle; }
};

/// One quantity on both sides.
struct ComparedQuantity {
  std::string name = {};  ///< "sampling fraction", "first moment z"
  std::string unit = {};  ///< "GeV", "cells"; empty for a pure number
  std::string bin = {};   ///< `ShowerBinResult::label`
  Estimate reference = {};
  Estimate candidate = {};

  /// (candidate - reference) / |reference|; infinite if the reference alone is 0.
  double relative() const noexcept;
  /// Difference in units of its statistical error; infinite if only the error is 0.
  double pull() const noexcept;
};

/// What must hold; 0 = not asked for. Relative, over all energy bins.
struct ShowerTolerances {
  double fraction = 0;  ///< largest relative difference of the mean sampling fraction
  double profile = 0;  ///< largest relative difference of profile bins that hold more than 1 % of the largest
  double moments = 0;  ///< largest relative difference of first and second moments
  double hits = 0;     ///< of the mean hit multiplicity
  double theta = 0;    ///< of the mean measured angle
  double empty = 0;  ///< how much the candidate's share of showers without energy may exceed the reference's
  double dark = 0;   ///< the same of showers without a hit
  double score = 0;  ///< of `ShowerScore::total`
};

struct ShowerComparison {
  ShowerSummary reference = {};
  ShowerSummary candidate = {};
  ShowerScore score = {};
  /// Of "all", every energy bin and every angle bin that the reference fills.
  std::vector<ComparedQuantity> quantities = {};
  /// Largest relative deviation of profile bins that hold more than 1 % of the largest,
  /// over axes and energy bins.
  double worst_profile = 0;
  std::string worst_profile_where = {};  ///< "z = 12, 20-40 GeV"
};

/// Histograms of sampling fraction, hits and angle get the same, coarser bins on both sides.
/// @throws ConfigError if the samples have another geometry or binning (both are said), DataError if a bin
/// that the reference fills has no candidate shower.
ShowerComparison compare(ShowerSummary reference, ShowerSummary candidate);

/// One line per tolerance that does not hold: "sampling fraction differs by 8.1 % at 20-40 GeV, allowed are 5
/// %". @throws ConfigError for a tolerance on the angle of samples without one: it could never be violated.
std::vector<std::string> violations(const ShowerComparison& comparison, const ShowerTolerances& tolerances);

}  // namespace bunchtrain::metrics
