// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/particle_net.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/dropout.hpp"
#include "bunchtrain/nn/edge_conv.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "bunchtrain/nn/linear.hpp"
#include "bunchtrain/nn/masked_mean.hpp"
#include "bunchtrain/ops/knn.hpp"

namespace bunchtrain::models {
namespace {

constexpr std::uint64_t kHiddenDropout = 1;
constexpr double kLeastWidth = 1e-3;  ///< of an estimate, in widths of its target: no loss is infinite

/// A module that only holds others: weaver's names come from nested containers.
std::shared_ptr<torch::nn::Module> add_container(torch::nn::Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<torch::nn::Module>("Container"));
}

void check_inputs(const ParticleNetOptions& options, const at::Tensor& points, const at::Tensor& features,
                  const at::Tensor& mask) {
  const auto fits = features.dim() == 3 && features.size(2) == options.num_features && points.dim() == 3 &&
                    points.sizes().slice(0, 2) == features.sizes().slice(0, 2) && mask.dim() == 2 &&
                    mask.sizes() == features.sizes().slice(0, 2) && mask.scalar_type() == at::kBool;
  if (!fits) {
    throw ConfigError(
        fmt::format("ParticleNet expects points [B, P, D], features [B, P, {}] and a bool mask [B, P]; they "
                    "are [{}], [{}] and {} [{}]",
                    options.num_features, fmt::join(points.sizes(), ", "), fmt::join(features.sizes(), ", "),
                    c10::toString(mask.scalar_type()), fmt::join(mask.sizes(), ", ")));
  }
  for (const EdgeConvSpec& block : options.blocks) {
    if (block.k < features.size(1)) continue;
    throw ConfigError(
        fmt::format("ParticleNet looks for {} neighbours of each particle, but jets have only {} slots: give "
                    "a length of at "
                    "least {}, or fewer neighbours",
                    block.k, features.size(1), block.k + 1));
  }
}

/// Without a mask.
nn::Padding rules_of(const ParticleNetOptions& options) {
  return {.mask = {},
          .zeroed = options.padding == PaddingRule::weaver,
          .counted = options.batch_norm_rows == BatchNormRows::all};
}

}  // namespace

/// The layers, in the order of their use.
struct ParticleNetImpl::Blocks {
  nn::BatchNorm feature_norm{nullptr};
  std::vector<nn::EdgeConvBlock> edge_convs;
  at::Tensor fusion_weight;
  nn::BatchNorm fusion_norm{nullptr};
  nn::Linear hidden{nullptr}, output{nullptr};
  std::vector<nn::Linear> heads;
  nn::Dropout dropout{nullptr};
};

ParticleNetImpl::ParticleNetImpl(ParticleNetOptions options)
    : options_(std::move(options)), blocks_(std::make_shared<Blocks>()) {
  options_.validate();
  blocks_->feature_norm =
      register_module("bn_fts", nn::BatchNorm(nn::BatchNormOptions{.channels = options_.num_features}));
  register_edge_convs();
  std::int64_t channels = options_.blocks.back().channels[2];
  if (options_.fusion) channels = register_fusion();

  const auto fc = add_container(*this, "fc");
  const auto hidden = add_container(*fc, "0");
  blocks_->hidden =
      hidden->register_module("0", nn::Linear(nn::LinearOptions{.in = channels, .out = options_.hidden}));
  blocks_->dropout = hidden->register_module(
      "2", nn::Dropout(nn::DropoutOptions{.probability = options_.dropout, .site = kHiddenDropout}));
  blocks_->output = fc->register_module(
      "1", nn::Linear(nn::LinearOptions{.in = options_.hidden, .out = options_.num_classes}));
  register_heads();
  nn::fill_default_weights(*this, options_.seed);
}

void ParticleNetImpl::register_heads() {
  if (options_.heads.empty()) return;
  const auto heads = add_container(*this, "heads");
  for (const RegressionHead& head : options_.heads)
    blocks_->heads.push_back(heads->register_module(
        head.name, nn::Linear(nn::LinearOptions{.in = options_.hidden, .out = head.own_width ? 2 : 1})));
}

void ParticleNetImpl::register_edge_convs() {
  const auto edge_convs = add_container(*this, "edge_convs");
  std::int64_t channels = options_.num_features;
  for (const EdgeConvSpec& spec : options_.blocks) {
    const nn::EdgeConvOptions block{
        .in_channels = channels, .channels = spec.channels, .recompute = options_.recompute};
    const std::string name = std::to_string(blocks_->edge_convs.size());
    blocks_->edge_convs.push_back(edge_convs->register_module(name, nn::EdgeConvBlock(block)));
    channels = spec.channels[2];
  }
}

std::int64_t ParticleNetImpl::register_fusion() {
  std::int64_t total = 0;
  for (const EdgeConvSpec& spec : options_.blocks) total += spec.channels[2];
  const std::int64_t channels = fusion_channels(options_);
  const auto fusion = add_container(*this, "fusion_block");
  const auto conv = add_container(*fusion, "0");
  blocks_->fusion_weight = conv->register_parameter("weight", at::zeros({channels, total, 1}));
  blocks_->fusion_norm =
      fusion->register_module("1", nn::BatchNorm(nn::BatchNormOptions{.channels = channels}));
  return channels;
}

at::Tensor ParticleNetImpl::embed(const at::Tensor& points, const at::Tensor& features,
                                  const at::Tensor& mask) {
  check_inputs(options_, points, features, mask);
  nn::Padding padding = rules_of(options_);
  padding.mask = mask;
  const at::Tensor real = mask.unsqueeze(2);
  const auto counted = padding.counted ? std::nullopt : std::optional(mask);

  at::Tensor x = blocks_->feature_norm->forward(features.mul(real), counted);
  if (padding.zeroed) x = x.mul(real);
  std::vector<at::Tensor> outputs;
  for (std::size_t i = 0; i < blocks_->edge_convs.size(); ++i) {
    // The first graph lives in (deta, dphi), later ones in the features of the block
    // before; indices are constants.
    const at::Tensor space = (i == 0 ? points : x).detach().contiguous();
    const at::Tensor indices = ops::knn(space, mask, {.k = options_.blocks[i].k}).indices;
    x = blocks_->edge_convs[i]->forward(x, indices, padding);
    outputs.push_back(x);
  }
  if (options_.fusion) x = fuse(outputs, counted);
  return blocks_->dropout->forward(at::relu(blocks_->hidden->forward(pool(x, mask))));
}

at::Tensor ParticleNetImpl::fuse(const std::vector<at::Tensor>& outputs,
                                 const std::optional<at::Tensor>& counted) {
  const at::Tensor mixed = at::linear(at::cat(outputs, 2), blocks_->fusion_weight.flatten(1));
  return blocks_->fusion_norm->forward(mixed, counted, /*relu=*/true);
}

at::Tensor ParticleNetImpl::pool(const at::Tensor& x, const at::Tensor& mask) {
  return options_.padding == PaddingRule::weaver ? nn::masked_mean(x, mask)
                                                 : x.mul(mask.unsqueeze(2)).mean(1);
}

at::Tensor ParticleNetImpl::forward(const at::Tensor& points, const at::Tensor& features,
                                    const at::Tensor& mask) {
  return blocks_->output->forward(embed(points, features, mask)).to(features.scalar_type());
}

NamedTensors ParticleNetImpl::forward(const NamedTensors& inputs) {
  const at::Tensor& features = inputs["features"];
  const at::Tensor embedded = embed(inputs["points"], features, inputs["mask"]);
  NamedTensors outputs = {{"logits", blocks_->output->forward(embedded).to(features.scalar_type())}};
  for (std::size_t i = 0; i < blocks_->heads.size(); ++i) {
    const RegressionHead& head = options_.heads[i];
    const at::Tensor standard = blocks_->heads[i]->forward(embedded).to(features.scalar_type());
    outputs.set(head.name, standard.select(1, 0) * head.width + head.mean);
    if (head.own_width)
      outputs.set(width_output(head.name), (at::softplus(standard.select(1, 1)) + kLeastWidth) * head.width);
  }
  return outputs;
}

std::string ParticleNetImpl::description() const { return options_.describe().to_json(); }

std::vector<std::string> ParticleNetImpl::input_names() const { return {"points", "features", "mask"}; }

std::int64_t ParticleNetImpl::predicted_activation_bytes(std::int64_t jets, std::int64_t particles,
                                                         nn::EdgeStorage storage) const {
  const bool can_be_asked = storage.device.is_cuda() && storage.device.has_index();
  std::int64_t kept = 0, transient = 0;
  for (std::size_t i = 0; i < blocks_->edge_convs.size(); ++i) {
    const std::int64_t k = options_.blocks[i].k;
    if (can_be_asked)
      storage.fused =
          blocks_->edge_convs[i]->why_by_operations(particles, k, rules_of(options_), storage.device).empty();
    const auto block = blocks_->edge_convs[i]->footprint(jets * particles, k, storage);
    kept += block.kept;
    transient = std::max(transient, block.transient);
  }
  return kept + transient;
}

std::vector<std::string> ParticleNetImpl::blocks_by_operations(std::int64_t particles,
                                                               c10::Device device) const {
  const nn::Padding rules = rules_of(options_);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < blocks_->edge_convs.size(); ++i) {
    const std::string why =
        blocks_->edge_convs[i]->why_by_operations(particles, options_.blocks[i].k, rules, device);
    if (!why.empty()) lines.push_back("edge_convs." + std::to_string(i) + ": " + why);
  }
  return lines;
}

}  // namespace bunchtrain::models
