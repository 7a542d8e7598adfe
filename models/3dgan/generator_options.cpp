// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/3dgan/generator_options.hpp"

#include "bunchtrain/models/model_description.hpp"

namespace bunchtrain::models {

ShowerGeneratorOptions ShowerGeneratorOptions::from(const ModelDescription& description) {
  return {.variant = parse_shower_variant(description.text("variant", "fixed", {"fixed", "angle"})),
          .seed = description.unsigned_integer("seed", 1)};
}

ModelDescription ShowerGeneratorOptions::describe() const {
  return ModelDescription("3dgan-generator").set("variant", to_string(variant)).set("seed", seed);
}

}  // namespace bunchtrain::models
