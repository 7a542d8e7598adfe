// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdio>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/models/particle_net_options.hpp"

namespace bunchtrain::models {
namespace {

/// "16:64,64,64;16:128,128,128": the blocks of version 0.1.
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

std::vector<EdgeConvSpec> read_blocks(const ModelDescription& description) {
  std::vector<EdgeConvSpec> blocks;
  description.for_each("blocks", [&](const ModelDescription& block) {
    const auto channels = block.integers("channels", {});
    if (channels.size() != 3)
      throw ConfigError(fmt::format("model '{}': channels", block.name()),
                        fmt::format("{} numbers", channels.size()), "the widths of three layers");
    blocks.push_back({block.integer("k", 0), {channels[0], channels[1], channels[2]}});
  });
  return blocks;
}

std::vector<RegressionHead> read_heads(const ModelDescription& description) {
  std::vector<RegressionHead> heads;
  description.for_each("heads", [&](const ModelDescription& head) {
    heads.push_back({.name = head.text("name", ""),
                     .mean = head.real("mean", 0),
                     .width = head.real("width", 1),
                     .own_width = head.flag("own_width", false)});
  });
  return heads;
}

/// What version 0.1 wrote otherwise.
void read_old_fields(const ModelDescription& description, ParticleNetOptions& options) {
  if (description.has("real_rows") && description.flag("real_rows", false))
    options.batch_norm_rows = BatchNormRows::real;
}

std::vector<ModelDescription> describe(const std::vector<EdgeConvSpec>& blocks) {
  std::vector<ModelDescription> objects;
  for (const auto& [k, channels] : blocks)
    objects.push_back(ModelDescription("block").set("k", k).set(
        "channels", std::vector<std::int64_t>(channels.begin(), channels.end())));
  return objects;
}

std::vector<ModelDescription> describe(const std::vector<RegressionHead>& heads) {
  std::vector<ModelDescription> objects;
  for (const RegressionHead& head : heads)
    objects.push_back(ModelDescription("head")
                          .set("name", head.name)
                          .set("mean", head.mean)
                          .set("width", head.width)
                          .set("own_width", head.own_width));
  return objects;
}

}  // namespace

ParticleNetOptions ParticleNetOptions::from(const ModelDescription& description) {
  ParticleNetOptions options = description.name() == "particlenet-lite" ? lite() : ParticleNetOptions{};
  options.num_features = description.integer("num_features", options.num_features);
  options.num_classes = description.integer("num_classes", options.num_classes);
  if (description.is_text("blocks"))
    options.blocks = parse_blocks(description.text("blocks", ""));
  else if (auto blocks = read_blocks(description); description.has("blocks"))
    options.blocks = std::move(blocks);
  options.hidden = description.integer("hidden", options.hidden);
  options.dropout = description.real("dropout", options.dropout);
  options.fusion = description.flag("fusion", options.fusion);
  const std::string padding = description.text("padding", "weaver", {"weaver", "keras"});
  options.padding = padding == "keras" ? PaddingRule::keras : PaddingRule::weaver;
  const std::string rows = description.text("batch_norm_rows", "all", {"all", "real"});
  options.batch_norm_rows = rows == "real" ? BatchNormRows::real : BatchNormRows::all;
  options.recompute = description.flag("recompute", options.recompute);
  options.heads = read_heads(description);
  options.seed = description.unsigned_integer("seed", options.seed);
  read_old_fields(description, options);
  return options;
}

ModelDescription ParticleNetOptions::describe() const {
  const std::string name = blocks == lite().blocks ? "particlenet-lite" : "particlenet";
  ModelDescription description(name);
  description.set("num_features", num_features)
      .set("num_classes", num_classes)
      .set("blocks", models::describe(blocks))
      .set("hidden", hidden)
      .set("dropout", dropout)
      .set("fusion", fusion)
      .set("padding", padding == PaddingRule::keras ? "keras" : "weaver")
      .set("batch_norm_rows", batch_norm_rows == BatchNormRows::real ? "real" : "all")
      .set("recompute", recompute)
      .set("seed", seed);
  if (!heads.empty()) description.set("heads", models::describe(heads));  // older programs know none
  return description;
}

}  // namespace bunchtrain::models
