// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/particle_net.hpp"

namespace bunchtrain::models {
namespace {

void require_positive(std::string_view field, std::int64_t value) {
  if (value <= 0) throw ConfigError(field, fmt::to_string(value), "at least 1");
}

}  // namespace

ParticleNetOptions ParticleNetOptions::lite(std::int64_t num_features, std::int64_t num_classes) {
  ParticleNetOptions options;
  options.num_features = num_features;
  options.num_classes = num_classes;
  options.blocks = {{7, {32, 32, 32}}, {7, {64, 64, 64}}};
  options.hidden = 128;
  return options;
}

void ParticleNetOptions::validate() const {
  require_positive("num_features", num_features);
  require_positive("num_classes", num_classes);
  require_positive("hidden", hidden);
  if (blocks.empty()) throw ConfigError("blocks", "none", "at least one EdgeConv block");
  for (const EdgeConvSpec& block : blocks) {
    require_positive("blocks.k", block.k);
    for (const std::int64_t width : block.channels) require_positive("blocks.channels", width);
  }
  if (!(dropout >= 0 && dropout < 1))
    throw ConfigError("dropout", fmt::to_string(dropout), "a probability, at least 0 and below 1");
}

}  // namespace bunchtrain::models
