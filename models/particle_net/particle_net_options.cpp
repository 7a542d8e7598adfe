// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/particle_net_options.hpp"

namespace bunchtrain::models {
namespace {

void require_positive(std::string_view field, std::int64_t value) {
  if (value <= 0) throw ConfigError(field, fmt::to_string(value), "at least 1");
}

void validate(const std::vector<RegressionHead>& heads) {
  std::set<std::string> names{"logits"};
  for (const RegressionHead& head : heads) {
    const bool is_word = !head.name.empty() && head.name.find('.') == std::string::npos;
    if (!is_word || !names.insert(head.name).second ||
        (head.own_width && !names.insert(width_output(head.name)).second))
      throw ConfigError("heads", head.name, "names without dots, each once, none of them logits");
    if (!std::isfinite(head.mean))
      throw ConfigError("heads.mean", fmt::to_string(head.mean), "a finite number");
    if (!std::isfinite(head.width) || head.width <= 0)
      throw ConfigError("heads.width", fmt::to_string(head.width), "a finite number above 0");
  }
}

}  // namespace

std::string width_output(const std::string& head) { return head + "_width"; }

ParticleNetOptions ParticleNetOptions::lite(std::int64_t num_features, std::int64_t num_classes) {
  ParticleNetOptions options;
  options.num_features = num_features;
  options.num_classes = num_classes;
  options.blocks = {{7, {32, 32, 32}}, {7, {64, 64, 64}}};
  options.hidden = 128;
  return options;
}

std::int64_t fusion_channels(const ParticleNetOptions& options) {
  std::int64_t total = 0;
  for (const EdgeConvSpec& spec : options.blocks) total += spec.channels[2];
  return std::clamp<std::int64_t>(total / 128 * 128, 128, 1024);
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
  models::validate(heads);
}

}  // namespace bunchtrain::models
