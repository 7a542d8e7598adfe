// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The two published 3DGANs: what differs between them in shape and units.

#include <array>
#include <cstdint>
#include <string_view>

namespace bunchtrain::models {

/// Fixed angle (`EcalEnergyGan`, 25x25x25) and variable angle (`AngleArch3dGAN`, 51x51x25) of svalleco/3Dgan
/// (Khattak et al., EPJC 82:386, 2022).
enum class ShowerVariant { fixed_angle, variable_angle };

/// "fixed", "angle". @throws ConfigError
ShowerVariant parse_shower_variant(std::string_view text);
std::string_view to_string(ShowerVariant variant) noexcept;

/// Cells along x, y, z.
std::array<std::int64_t, 3> shower_shape(ShowerVariant variant) noexcept;
/// Numbers of one latent vector: 200, or 256 = energy, theta and 254 of noise.
std::int64_t latent_size(ShowerVariant variant) noexcept;
/// Normal numbers in it: 200, 254.
std::int64_t noise_size(ShowerVariant variant) noexcept;
/// Exponent of the image's cells: 1, 0.85.
double image_power(ShowerVariant variant) noexcept;
/// Image cells per GeV before the exponent: 1, 50.
double image_scale(ShowerVariant variant) noexcept;

/// Primary energies enter as E / 100 GeV.
inline constexpr double kEnergyUnit = 100;

}  // namespace bunchtrain::models
