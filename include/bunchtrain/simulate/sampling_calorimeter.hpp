// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A calorimeter of absorber and active layers, and its effective medium.

namespace bunchtrain::simulate {

/// A material as shower parametrisations need it.
struct Material {
  double z;                 ///< atomic number
  double a;                 ///< g/mol
  double density;           ///< g/cm3
  double radiation_length;  ///< cm
  double minimum_loss;      ///< MeV/cm, of a minimum ionising particle

  static Material tungsten();
  static Material silicon();

  /// MeV: 2.66 (X0 Z / A)^1.1 with X0 in g/cm2.
  double critical_energy() const;
};

/// One layer repeated along z, cells of a square pitch across. Defaults: the W/Si
/// calorimeter of the LCD files.
struct SamplingCalorimeter {
  Material absorber = Material::tungsten();
  Material active = Material::silicon();
  double absorber_thickness = 2.4;    ///< mm
  double active_thickness = 0.5;      ///< mm
  double layer_pitch = 3.95;          ///< mm from layer to layer, gaps included
  double cell_pitch = 5.1;            ///< mm across
  double sampling_resolution = 0.16;  ///< c of sigma/E = c / sqrt(E / GeV)
  /// Sampling fraction of a shower over that of a minimum ionising particle. 0.80 is what the
  /// Geant4 files of the default calorimeter have; `EffectiveMedium::e_over_mip`, a rough fit that
  /// enters the shapes, is 0.70.
  double electron_response = 0.80;
  double depth_before = 0;  ///< radiation lengths in front of the first layer

  /// @throws ConfigError naming the field.
  void validate() const;

  /// Energy seen in the active layers over energy deposited by a shower.
  double sampling_fraction() const;
};

/// The homogeneous medium that showers as the layers do (hep-ex/0001020).
struct EffectiveMedium {
  double z, a;
  double radiation_length;    ///< cm
  double critical_energy;     ///< MeV
  double moliere_radius;      ///< cm, without the widening by gaps
  double sampling_frequency;  ///< F_S = X0 / (d_absorber + d_active)
  double e_over_mip;          ///< e-hat = 1 / (1 + 0.007 (Z_absorber - Z_active))
};
EffectiveMedium effective_medium(const SamplingCalorimeter& calorimeter);

}  // namespace bunchtrain::simulate
