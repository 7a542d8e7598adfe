// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/simulate/sampling_calorimeter.hpp"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr double kMillimetresPerCentimetre = 10;

void require_positive(std::string_view field, double value) {
  if (!(value > 0 && std::isfinite(value)))
    throw ConfigError(field, fmt::format("{}", value), "a positive number");
}

void validate(std::string_view name, const Material& material) {
  require_positive(fmt::format("{}.z", name), material.z);
  require_positive(fmt::format("{}.a", name), material.a);
  require_positive(fmt::format("{}.density", name), material.density);
  require_positive(fmt::format("{}.radiation_length", name), material.radiation_length);
  require_positive(fmt::format("{}.minimum_loss", name), material.minimum_loss);
}

}  // namespace

// Constants: Particle Data Group, atomic and nuclear properties of materials.
Material Material::tungsten() {
  return {.z = 74, .a = 183.84, .density = 19.3, .radiation_length = 0.3504, .minimum_loss = 22.10};
}

Material Material::silicon() {
  return {.z = 14, .a = 28.0855, .density = 2.329, .radiation_length = 9.370, .minimum_loss = 3.876};
}

double Material::critical_energy() const { return 2.66 * std::pow(radiation_length * density * z / a, 1.1); }

void SamplingCalorimeter::validate() const {
  simulate::validate("absorber", absorber);
  simulate::validate("active", active);
  require_positive("absorber_thickness", absorber_thickness);
  require_positive("active_thickness", active_thickness);
  require_positive("cell_pitch", cell_pitch);
  require_positive("sampling_resolution", sampling_resolution);
  require_positive("electron_response", electron_response);
  if (!(layer_pitch >= absorber_thickness + active_thickness && std::isfinite(layer_pitch)))
    throw ConfigError(
        "layer_pitch", fmt::format("{}", layer_pitch),
        fmt::format("at least absorber and active thickness, {} mm", absorber_thickness + active_thickness));
  if (!(depth_before >= 0 && std::isfinite(depth_before)))
    throw ConfigError("depth_before", fmt::format("{}", depth_before), "radiation lengths, not negative");
}

double SamplingCalorimeter::sampling_fraction() const {
  const double in_active = active_thickness * active.minimum_loss;
  return electron_response * in_active / (in_active + absorber_thickness * absorber.minimum_loss);
}

EffectiveMedium effective_medium(const SamplingCalorimeter& calorimeter) {
  const Material &p = calorimeter.absorber, &a = calorimeter.active;
  const double thickness =
      (calorimeter.absorber_thickness + calorimeter.active_thickness) / kMillimetresPerCentimetre;
  const double mass_p = calorimeter.absorber_thickness * p.density,
               mass_a = calorimeter.active_thickness * a.density;
  const double w_p = mass_p / (mass_p + mass_a), w_a = 1 - w_p;
  const double density = (mass_p + mass_a) / kMillimetresPerCentimetre / thickness;
  const double inverse_p = w_p / (p.radiation_length * p.density),  // per g/cm2
      inverse_a = w_a / (a.radiation_length * a.density);
  const double x0 = 1 / (density * (inverse_p + inverse_a));
  const double ec_over_x0 = inverse_p * p.critical_energy() + inverse_a * a.critical_energy();
  constexpr double kScatteringEnergy = 21.2;  // MeV
  return {.z = w_p * p.z + w_a * a.z,
          .a = w_p * p.a + w_a * a.a,
          .radiation_length = x0,
          .critical_energy = ec_over_x0 / (inverse_p + inverse_a),
          .moliere_radius = kScatteringEnergy / (density * ec_over_x0),
          .sampling_frequency = x0 / thickness,
          .e_over_mip = 1 / (1 + 0.007 * (p.z - a.z))};
}

}  // namespace bunchtrain::simulate
