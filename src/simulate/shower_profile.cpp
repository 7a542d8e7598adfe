// SPDX-License-Identifier: Apache-2.0
#include "shower_profile.hpp"

#include <algorithm>
#include <cmath>

#include "gamma_distribution.hpp"

namespace bunchtrain::simulate {
namespace {

// Where the formulas leave their range (a few Ec and below), as Geant4 guards them.
constexpr double kLargestSigma = 0.5, kLowestMaximum = 1, kLowestAlpha = 1.1;

/// 1 / (offset + slope ln y), at most kLargestSigma where the line is near zero or below.
double fluctuation(double offset, double slope, double ln_y) noexcept {
  return 1 / std::max(offset + slope * ln_y, 1 / kLargestSigma);
}

double gamma_fraction(double maximum, double alpha, double t) noexcept {
  return incomplete_gamma(alpha, (alpha - 1) / maximum * t);
}

}  // namespace

double LongitudinalProfile::energy_before(double t) const noexcept {
  return gamma_fraction(maximum, alpha, t);
}

double LongitudinalProfile::spots_before(double t) const noexcept {
  return gamma_fraction(spot_maximum, spot_alpha, t);
}

double LongitudinalProfile::relative_depth(double t) const noexcept {
  return t / maximum * (alpha - 1) / alpha * mean_alpha / (mean_alpha - 1);
}

ShowerProfiles::ShowerProfiles(const SamplingCalorimeter& calorimeter)
    : medium_(effective_medium(calorimeter)), sampling_resolution_(calorimeter.sampling_resolution) {}

LongitudinalProfile ShowerProfiles::draw(double energy, RandomSequence& random) const noexcept {
  constexpr double kMeVPerGeV = 1000;
  const double ln_y = std::log(energy * kMeVPerGeV / medium_.critical_energy);
  const double f_s = medium_.sampling_frequency;
  const double maximum = ln_y - 0.812 - 0.55 / f_s - 0.69 * (1 - medium_.e_over_mip);
  const double alpha = 0.81 + (0.458 + 2.26 / medium_.z) * ln_y - 0.476 / f_s;
  const double mean_ln_maximum = std::log(std::max(maximum, kLowestMaximum));
  const double mean_ln_alpha = std::log(std::max(alpha, kLowestAlpha));
  const double correlation = std::clamp(0.784 - 0.023 * ln_y, -1.0, 1.0);
  const double sum = std::sqrt((1 + correlation) / 2) * random.normal(),
               difference = std::sqrt((1 - correlation) / 2) * random.normal();

  LongitudinalProfile profile{};
  profile.mean_alpha = std::exp(mean_ln_alpha);
  profile.maximum = std::max(std::exp(mean_ln_maximum + fluctuation(-2.5, 1.25, ln_y) * (sum + difference)),
                             kLowestMaximum);
  profile.alpha =
      std::max(std::exp(mean_ln_alpha + fluctuation(-0.82, 0.79, ln_y) * (sum - difference)), kLowestAlpha);
  profile.spot_maximum = profile.maximum * (0.813 + 0.0019 * medium_.z);
  profile.spot_alpha = std::max(profile.alpha * (0.844 + 0.0026 * medium_.z), kLowestAlpha);
  profile.spots = 10.3 / sampling_resolution_ * std::pow(energy, 0.959);
  return profile;
}

RadialProfile ShowerProfiles::radial(double energy, double tau) const noexcept {
  const double ln_e = std::log(energy), z = medium_.z;
  const double response_loss = 1 - medium_.e_over_mip, damping = std::exp(-tau) / medium_.sampling_frequency;

  const double z1 = 0.0251 + 0.00319 * ln_e, z2 = 0.1162 - 0.000381 * z;
  const double core = z1 + z2 * tau - 0.0203 * response_loss + 0.0397 * damping;

  const double k1 = 0.659 - 0.00309 * z, k2 = 0.645, k3 = -2.59, k4 = 0.3585 + 0.0421 * ln_e;
  const double tail =
      k1 * (std::exp(k3 * (tau - k2)) + std::exp(k4 * (tau - k2))) - 0.14 * response_loss - 0.495 * damping;

  const double p1 = 2.632 - 0.00094 * z, p2 = 0.401 + 0.00187 * z, p3 = 1.313 - 0.0686 * ln_e;
  const double rise = (p2 - tau) / p3;
  const double weight =
      p1 * std::exp(rise - std::exp(rise)) +
      response_loss * (0.348 - 0.642 * std::exp(-(tau - 1) * (tau - 1)) / medium_.sampling_frequency);

  constexpr double kSmallestRadius = 1e-3;
  return {.core = std::max(core, kSmallestRadius),
          .tail = std::max(tail, kSmallestRadius),
          .core_weight = std::clamp(weight, 0.0, 1.0)};
}

}  // namespace bunchtrain::simulate
