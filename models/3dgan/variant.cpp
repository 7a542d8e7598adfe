// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/3dgan/variant.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::models {
namespace {

bool is_fixed(ShowerVariant variant) noexcept { return variant == ShowerVariant::fixed_angle; }

}  // namespace

ShowerVariant parse_shower_variant(std::string_view text) {
  for (const ShowerVariant variant : {ShowerVariant::fixed_angle, ShowerVariant::variable_angle})
    if (text == to_string(variant)) return variant;
  throw ConfigError("variant", text, "'fixed' (25x25x25 cells) or 'angle' (51x51x25 cells)");
}

std::string_view to_string(ShowerVariant variant) noexcept { return is_fixed(variant) ? "fixed" : "angle"; }

std::array<std::int64_t, 3> shower_shape(ShowerVariant variant) noexcept {
  if (is_fixed(variant)) return {25, 25, 25};
  return {51, 51, 25};
}

std::int64_t latent_size(ShowerVariant variant) noexcept { return is_fixed(variant) ? 200 : 256; }
std::int64_t noise_size(ShowerVariant variant) noexcept { return is_fixed(variant) ? 200 : 254; }
double image_power(ShowerVariant variant) noexcept { return is_fixed(variant) ? 1 : 0.85; }
double image_scale(ShowerVariant variant) noexcept { return is_fixed(variant) ? 1 : 50; }

}  // namespace bunchtrain::models
