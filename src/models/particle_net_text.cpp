// SPDX-License-Identifier: Apache-2.0
#include "particle_net_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::models {
namespace {

bool same_blocks(const ParticleNetOptions& a, const ParticleNetOptions& b) {
  return std::equal(a.blocks.begin(), a.blocks.end(), b.blocks.begin(), b.blocks.end(),
                    [](const EdgeConvSpec& one, const EdgeConvSpec& other) {
                      return one.k == other.k && one.channels == other.channels;
                    });
}

/// "16:64,64,64;16:128,128,128"
std::string to_text(const std::vector<EdgeConvSpec>& blocks) {
  std::string text;
  for (const EdgeConvSpec& block : blocks)
    text += fmt::format("{}{}:{}", text.empty() ? "" : ";", block.k, fmt::join(block.channels, ","));
  return text;
}

std::vector<EdgeConvSpec> parse_blocks(const std::string& text) {
  std::vector<EdgeConvSpec> blocks;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(';', begin), text.size());
    long long k = 0, first = 0, second = 0, third = 0;
    if (std::sscanf(text.substr(begin, end - begin).c_str(), "%lld:%lld,%lld,%lld", &k, &first, &second,
                    &third) != 4)
      throw ConfigError("model description: blocks", text, "K:WIDTH,WIDTH,WIDTH;...");
    blocks.push_back({k, {first, second, third}});
    begin = end + 1;
  }
  return blocks;
}

std::int64_t parse_width(const std::string& text) {
  long long width = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lld%c", &width, &rest) != 1)
    throw ConfigError("model description: hidden", text, "a number");
  return width;
}

void set_further(const std::string& field, const std::string& value, ParticleNetOptions& net) {
  if (field == "blocks")
    net.blocks = parse_blocks(value);
  else if (field == "hidden")
    net.hidden = parse_width(value);
  else if (field == "padding" && (value == "keras" || value == "weaver"))
    net.padding = value == "keras" ? PaddingRule::keras : PaddingRule::weaver;
  else
    throw ConfigError("model description", field + "=" + value,
                      "name=value as bunchtrain wrote it; was it made by a newer version?");
}

ParticleNetOptions published(std::string_view name) {
  return name == "particlenet-lite" ? ParticleNetOptions::lite() : ParticleNetOptions{};
}

}  // namespace

ParticleNetOptions to_particle_net(std::string_view name, const ModelOptions& options) {
  ParticleNetOptions net = published(name);
  net.num_features = options.num_features;
  net.num_classes = options.num_classes;
  net.dropout = options.dropout;
  net.fusion = options.fusion;
  net.recompute = options.recompute;
  net.batch_norm_rows = options.real_rows ? BatchNormRows::real : BatchNormRows::all;
  net.seed = options.seed;
  for (const auto& [field, value] : options.more) set_further(field, value, net);
  return net;
}

std::string describe(const ParticleNetOptions& net) {
  const bool lite = same_blocks(net, ParticleNetOptions::lite());
  const std::string_view name = lite ? "particlenet-lite" : "particlenet";
  const ParticleNetOptions base = published(name);
  ModelOptions options{.num_features = net.num_features,
                       .num_classes = net.num_classes,
                       .dropout = net.dropout,
                       .fusion = net.fusion,
                       .recompute = net.recompute,
                       .real_rows = net.batch_norm_rows == BatchNormRows::real,
                       .seed = net.seed};
  if (!same_blocks(net, base)) options.more["blocks"] = to_text(net.blocks);
  if (net.hidden != base.hidden) options.more["hidden"] = fmt::format("{}", net.hidden);
  if (net.padding != base.padding) options.more["padding"] = "keras";
  return describe(name, options);
}

std::string ParticleNetImpl::description() const { return describe(options_); }

}  // namespace bunchtrain::models
