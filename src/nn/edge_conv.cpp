// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/edge_conv.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include <string>

#include "bunchtrain/core/error.hpp"
#include "edge_conv_cpu.hpp"
#include "edge_conv_operations.hpp"

namespace bunchtrain::nn {
namespace {

/// A module that only carries a weight, so that the weight gets the name that weaver gives it.
at::Tensor add_weight(torch::nn::Module& parent, std::string name, at::IntArrayRef shape) {
  const auto child =
      parent.register_module(std::move(name), std::make_shared<torch::nn::Module>("Convolution"));
  return child->register_parameter("weight", at::zeros(shape));
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
  return shortcut_norm_->forward(at::linear(features, shortcut_weight_.flatten(1)),
                                 detail::rows_that_count(padding));
}

at::Tensor EdgeConvBlockImpl::mean_by_cpu_passes(const at::Tensor& features, const at::Tensor& indices,
                                                 const Padding& padding) {
  const bool narrow_edges = at::autocast::is_autocast_enabled(at::kCPU) &&
                            at::autocast::get_autocast_dtype(at::kCPU) == at::kBFloat16 &&
                            features.scalar_type() == at::kFloat;
  const at::ScalarType edge_type = narrow_edges ? at::kBFloat16 : features.scalar_type();
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const detail::SplitWeight first = detail::split_first_layer(weights_[0]);
  const at::Tensor terms = at::linear(features, at::cat({first.to_self, first.to_neighbour}))
                               .reshape({-1, 2 * options_.channels[0]});
  const at::Tensor mean =
      detail::mean_over_edges(*this, terms, detail::make_edge_plan(indices, padding), edge_type);
  return mean.reshape({features.size(0), features.size(1), options_.channels[2]});
}

at::Tensor EdgeConvBlockImpl::forward(const at::Tensor& features, const at::Tensor& indices,
                                      const Padding& padding) {
  const bool has_passes = features.is_cpu() && features.scalar_type() == weights_[0].scalar_type() &&
                          (features.scalar_type() == at::kFloat || features.scalar_type() == at::kDouble);
  const at::Tensor mean = has_passes ? mean_by_cpu_passes(features, indices, padding)
                                     : detail::mean_by_operations(*this, features, indices, padding);
  const at::Tensor out = at::relu(mean.add(shortcut(features, padding)));
  return padding.zeroed ? out.mul(padding.mask.unsqueeze(2)) : out;
}

EdgeConvFootprint EdgeConvBlockImpl::footprint(std::int64_t points, std::int64_t k,
                                               EdgeStorage storage) const {
  const auto& channels = options_.channels;
  const bool passes = storage.device == c10::kCPU;
  const std::int64_t point_bytes = points * weights_[0].element_size(),
                     edge_bytes = points * k * storage.value_bytes;
  // By passes the inputs of batch norms 2 and 3. By operations those of all three and of the two linear
  // layers between them; backward begins with the gradients of the last layer's output and input.
  const std::int64_t edges =
      edge_bytes * (passes ? channels[1] + channels[2] : 2 * (channels[0] + channels[1]) + channels[2]);
  const std::int64_t gradients = passes ? 0 : edge_bytes * 2 * channels[2];
  // u and v where passes need them again, the input of the shortcut's batch norm, the block's output in front
  // of and behind the mask.
  const std::int64_t terms = passes ? 2 * channels[0] : 0;
  const std::int64_t projected = shortcut_weight_.defined() ? channels[2] : 0;
  const std::int64_t kept = point_bytes * (terms + projected + 2 * channels[2]);
  return options_.recompute ? EdgeConvFootprint{kept, edges + gradients}
                            : EdgeConvFootprint{kept + edges, gradients};
}

}  // namespace bunchtrain::nn
