// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/edge_conv.hpp"

#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/edge_ops.hpp"
#include "padding.hpp"

namespace bunchtrain::nn {
namespace {

/// A module that only carries a weight, so that the weight gets the name that weaver gives it.
at::Tensor add_weight(torch::nn::Module& parent, std::string name, at::IntArrayRef shape) {
  const auto child =
      parent.register_module(std::move(name), std::make_shared<torch::nn::Module>("Convolution"));
  return child->register_parameter("weight", at::zeros(shape));
}

std::optional<at::Tensor> rows_that_count(const Padding& padding) {
  return padding.counted ? std::nullopt : std::optional(padding.mask);
}

}  // namespace

EdgeConvBlockImpl::EdgeConvBlockImpl(EdgeConvOptions options) : options_(options) {
  expects(options_.in_channels > 0, "an EdgeConv block needs at least one input channel");
  for (const std::int64_t width : options_.channels)
    expects(width > 0, "the layers of an EdgeConv block need at least one channel");
  const auto convs = register_module("convs", std::make_shared<torch::nn::Module>("Layers"));
  const auto bns = register_module("bns", std::make_shared<torch::nn::Module>("Layers"));
  std::int64_t in = 2 * options_.in_channels;
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const std::int64_t out = options_.channels[layer];
    weights_[layer] = add_weight(*convs, std::to_string(layer), {out, in, 1, 1});
    norms_[layer] = bns->register_module(std::to_string(layer), BatchNorm(BatchNormOptions{.channels = out}));
    in = out;
  }
  if (options_.in_channels == in) return;
  shortcut_weight_ = add_weight(*this, "sc", {in, options_.in_channels, 1});
  shortcut_norm_ = register_module("sc_bn", BatchNorm(BatchNormOptions{.channels = in}));
}

at::Tensor EdgeConvBlockImpl::shortcut(const at::Tensor& features, const Padding& padding) {
  if (!shortcut_weight_.defined()) return features;
  return shortcut_norm_->forward(at::linear(features, shortcut_weight_.flatten(1)), rows_that_count(padding));
}

at::Tensor EdgeConvBlockImpl::forward(const at::Tensor& features, const at::Tensor& indices,
                                      const Padding& padding) {
  const at::Tensor neighbours = detail::join_padding(indices, padding.mask);
  const at::Tensor first = weights_[0].flatten(1);
  const at::Tensor to_neighbour = first.narrow(1, options_.in_channels, options_.in_channels);
  const at::Tensor to_self = first.narrow(1, 0, options_.in_channels).sub(to_neighbour);
  at::Tensor edges =
      ops::edge_sum(at::linear(features, to_self), at::linear(features, to_neighbour), neighbours);
  const auto counted = rows_that_count(padding);
  const auto edge_mask =
      counted ? std::optional(counted->unsqueeze(2).expand(neighbours.sizes())) : std::nullopt;
  edges = norms_[0]->forward(edges, edge_mask, true);
  for (std::size_t layer = 1; layer < 3; ++layer) {
    edges = norms_[layer]->forward(at::linear(edges, weights_[layer].flatten(1)), edge_mask, true);
  }
  const at::Tensor out = at::relu(edges.mean(2).to(features.scalar_type()).add(shortcut(features, padding)));
  return padding.zeroed ? out.mul(padding.mask.unsqueeze(2)) : out;
}

std::int64_t EdgeConvBlockImpl::kept_bytes(std::int64_t points, std::int64_t k,
                                           std::int64_t edge_bytes) const {
  return points * k * edge_bytes * (options_.channels[1] + options_.channels[2]);
}

}  // namespace bunchtrain::nn
