// SPDX-License-Identifier: Apache-2.0
#include "shower_generator.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gamma_distribution.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr std::uint64_t kStream = 0x67666c617368;  // "gflash"
/// Where axes cross the middle of the image, as a part of the depth: the point that the axes of the LCD
/// variable-angle files turn around.
constexpr double kTurningDepth = 0.433;
/// Inclined showers spread backwards from beyond the last layer: so many layers more are followed.
constexpr std::int64_t kLayersBehind = 4;

/// How far the plane in which a shower spreads is tilted against the layers: 0 along them, 1 at a right angle
/// to the axis. Fitted to the barycentres of the layers in the LCD variable-angle file.
constexpr double kTilt = 0.5;

/// The layers as one medium: lengths grow by the gaps, along and across.
double gap_factor(const SamplingCalorimeter& calorimeter) {
  return calorimeter.layer_pitch / (calorimeter.absorber_thickness + calorimeter.active_thickness);
}

double between(double low, double high, RandomSequence& random) noexcept {
  return low + (high - low) * random.uniform();
}

}  // namespace

/// A straight line in the y-z plane: cells across, layers along.
struct ShowerGenerator::Axis {
  double sine, cosine;  ///< of theta, the angle to y
  double x, y;          ///< mm, where it crosses z = 0
  double depth_before;  ///< radiation lengths along it in front of the first layer
  bool inclined;
};

/// A piece of the axis as long as one layer is thick.
struct ShowerGenerator::Step {
  std::int64_t number;
  std::int64_t spots;
  double spot_energy;  ///< GeV
  RadialProfile radial;
};

ShowerGenerator::ShowerGenerator(const GflashOptions& options)
    : options_((options.validate(), options)),
      profiles_(options.calorimeter),
      moliere_radius_(10 * profiles_.medium().moliere_radius * gap_factor(options.calorimeter)),
      layer_depth_(1 / profiles_.medium().sampling_frequency),
      sampling_fraction_(options.calorimeter.sampling_fraction()) {}

std::int64_t ShowerGenerator::cells() const noexcept {
  return options_.cells[0] * options_.cells[1] * options_.cells[2];
}

ShowerGenerator::Axis ShowerGenerator::draw_axis(double theta, RandomSequence& random) const noexcept {
  const SamplingCalorimeter& calorimeter = options_.calorimeter;
  Axis axis{.sine = std::sin(theta),
            .cosine = std::cos(theta),
            .x = 0,
            .y = 0,
            .depth_before = calorimeter.depth_before,
            .inclined = options_.inclined};
  axis.x = calorimeter.cell_pitch * (static_cast<double>(options_.cells[0]) / 2 + random.uniform() - 0.5);
  axis.y = calorimeter.cell_pitch * (static_cast<double>(options_.cells[1]) / 2 + random.uniform() - 0.5);
  if (axis.inclined) {
    const double turning_point =
        kTurningDepth * static_cast<double>(options_.cells[2]) * calorimeter.layer_pitch;
    axis.y -= turning_point * axis.cosine / axis.sine;
    axis.depth_before /= axis.sine;
  }
  return axis;
}

ShowerTruth ShowerGenerator::make(std::int64_t number, std::span<float> image) const noexcept {
  RandomSequence random(CounterRandom(options_.seed, kStream).child(static_cast<std::uint64_t>(number)));
  const auto energy = static_cast<float>(between(options_.lowest_energy, options_.highest_energy, random));
  const auto theta =
      static_cast<float>(options_.inclined ? between(options_.lowest_theta, options_.highest_theta, random)
                                           : std::numbers::pi / 2);
  const Axis axis = draw_axis(static_cast<double>(theta), random);
  const auto gev = static_cast<double>(energy);
  const LongitudinalProfile profile = profiles_.draw(gev, random);
  constexpr double kConversionDepth = 9.0 / 7;  // radiation lengths, mean free path of a photon
  const double start =
      options_.particle == ShowerParticle::photon ? -kConversionDepth * std::log(1 - random.uniform()) : 0;
  const double variance =  // of a deposit over its mean, GeV
      options_.calorimeter.sampling_resolution * options_.calorimeter.sampling_resolution;

  const std::int64_t layers = options_.cells[2];
  const auto steps =
      options_.inclined
          ? static_cast<std::int64_t>(std::ceil(static_cast<double>(layers + kLayersBehind) / axis.sine))
          : layers;
  double depth = axis.depth_before - start;
  double energy_before = profile.energy_before(depth), spots_before = profile.spots_before(depth);
  for (std::int64_t i = 0; i < steps && energy_before < 1 - 1e-9; ++i) {
    const double end = depth + layer_depth_;
    const double energy_here = profile.energy_before(end), spots_here = profile.spots_before(end);
    const double mean = gev * (energy_here - energy_before);
    const double spots = profile.spots * (spots_here - spots_before);
    const double middle = std::max((depth + end) / 2, 0.0);
    depth = end;
    energy_before = energy_here;
    spots_before = spots_here;
    if (!(mean > 0)) continue;
    const double seen = sampling_fraction_ * variance * gamma_variate(mean / variance, random);
    const auto whole = static_cast<std::int64_t>(std::max(spots + random.uniform(), 1.0));
    place_spots({.number = i,
                 .spots = whole,
                 .spot_energy = seen / static_cast<double>(whole),
                 .radial = profiles_.radial(gev, profile.relative_depth(middle))},
                axis, random, image);
  }
  return {energy, theta};
}

void ShowerGenerator::place_spots(const Step& step, const Axis& axis, RandomSequence& random,
                                  std::span<float> image) const noexcept {
  const double pitch = options_.calorimeter.layer_pitch;
  for (std::int64_t i = 0; i < step.spots; ++i) {
    const double radius =
        moliere_radius_ * (random.uniform() < step.radial.core_weight ? step.radial.core : step.radial.tail);
    const double u = random.uniform(), azimuth = 2 * std::numbers::pi * random.uniform();
    const double r = radius * std::sqrt(u / (1 - u));
    const double x = axis.x + r * std::cos(azimuth), across = r * std::sin(azimuth);
    if (!axis.inclined) {
      deposit(x, axis.y + across, step.number, step.spot_energy, image);
      continue;
    }
    // Off the axis a spot is also at another depth. It is seen where a line through it, parallel to the
    // axis, crosses the middle of its layer.
    const double along = static_cast<double>(step.number) + random.uniform();
    const double layer = std::floor(along * axis.sine - kTilt * across * axis.cosine / pitch);
    if (!(layer >= 0 && layer < static_cast<double>(options_.cells[2]))) continue;
    const double y = axis.y + pitch * (layer + 0.5) * axis.cosine / axis.sine + across / axis.sine;
    deposit(x, y, static_cast<std::int64_t>(layer), step.spot_energy, image);
  }
}

void ShowerGenerator::deposit(double x, double y, std::int64_t layer, double energy,
                              std::span<float> image) const noexcept {
  const double column = std::floor(x / options_.calorimeter.cell_pitch),
               row = std::floor(y / options_.calorimeter.cell_pitch);
  const bool inside = column >= 0 && column < static_cast<double>(options_.cells[0]) && row >= 0 &&
                      row < static_cast<double>(options_.cells[1]);
  if (!inside) return;  // beside the calorimeter: leakage
  const auto cell = (static_cast<std::int64_t>(column) * options_.cells[1] + static_cast<std::int64_t>(row)) *
                        options_.cells[2] +
                    layer;
  image[static_cast<std::size_t>(cell)] += static_cast<float>(energy);
}

}  // namespace bunchtrain::simulate
