// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a 3DGAN generator is made of. Knows no LibTorch.

#include <cstdint>

#include "bunchtrain/models/3dgan/variant.hpp"

namespace bunchtrain::models {

class ModelDescription;

struct ShowerGeneratorOptions {
  ShowerVariant variant = ShowerVariant::fixed_angle;
  std::uint64_t seed = 1;  ///< of the initial weights

  /// {"model": "3dgan-generator", "variant": "fixed", "seed": 1}. @throws ConfigError naming the field.
  static ShowerGeneratorOptions from(const ModelDescription& description);
  ModelDescription describe() const;
};

}  // namespace bunchtrain::models
