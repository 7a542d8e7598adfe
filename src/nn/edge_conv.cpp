// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/edge_conv.hpp"

#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/kernels.hpp"

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
  return shortcut_norm_->forward(at::linear(features, shortcut_weight_.flatten(1)), padding.counted_rows());
}

ops::EdgeConvLayers EdgeConvBlockImpl::layers() const {
  return {.weights = weights_,
          .norms = {norms_[0]->tensors(), norms_[1]->tensors(), norms_[2]->tensors()},
          .recompute = options_.recompute};
}

at::Tensor EdgeConvBlockImpl::forward(const at::Tensor& features, const at::Tensor& indices,
                                      const Padding& padding) {
  ops::EdgeConvShortcut beside{.weight = shortcut_weight_};
  if (beside.weight.defined()) beside.norm = shortcut_norm_->tensors();
  if (const auto out = ops::evaluated_edge_conv(features, indices, padding, layers(), beside)) return *out;
  const at::Tensor mean = ops::edge_conv(features, indices, padding, layers());
  const at::Tensor out = at::relu(mean.add(shortcut(features, padding)));
  return padding.zeroed ? out.mul(padding.mask.unsqueeze(2)) : out;
}

EdgeConvFootprint EdgeConvBlockImpl::footprint(std::int64_t points, std::int64_t k,
                                               EdgeStorage storage) const {
  const auto& channels = options_.channels;
  const bool passes = storage.device.is_cpu() && ops::kernels() == ops::Kernels::automatic,
             fused = storage.fused && !storage.device.is_cpu();
  const std::int64_t point_bytes = points * weights_[0].element_size(),
                     edge_bytes = points * k * storage.value_bytes;
  const auto memory =
      fused ? ops::fused_edge_memory(points, k, channels, storage.value_bytes) : ops::FusedEdgeMemory{};
  // By passes the inputs of batch norms 2 and 3. By operations those of all three and of the two linear
  // layers between them; backward begins with the gradients of the last layer's output and input.
  const std::int64_t by_operations = 2 * (channels[0] + channels[1]) + channels[2];
  const std::int64_t edges =
      fused ? memory.edges : edge_bytes * (passes ? channels[1] + channels[2] : by_operations);
  std::int64_t gradients = memory.backward;
  if (!passes && !fused) gradients = edge_bytes * 2 * channels[2];
  // u and v where passes need them again and what passed the last ReLU, the input of the shortcut's batch norm, the
  // block's output in front of and behind the mask.
  const std::int64_t terms = passes ? 2 * (channels[0] + channels[2]) : 0;
  const std::int64_t projected = shortcut_weight_.defined() ? channels[2] : 0;
  const std::int64_t kept = point_bytes * (terms + projected + 2 * channels[2]) + memory.points;
  return options_.recompute ? EdgeConvFootprint{kept, edges + gradients}
                            : EdgeConvFootprint{kept + edges, gradients};
}

std::string EdgeConvBlockImpl::why_by_operations(std::int64_t points, std::int64_t k, const Padding& padding,
                                                 c10::Device device) const {
  if (!device.is_cuda()) return {};
  ops::EdgeConvLayers there = layers();
  for (std::size_t layer = 0; layer < 3; ++layer) {
    ops::BatchNormTensors& norm = there.norms[layer];
    for (at::Tensor* each :
         {&there.weights[layer], &norm.weight, &norm.bias, &norm.running_mean, &norm.running_var})
      *each = each->detach().to(device);
  }
  const at::TensorOptions options = there.weights[0].options();
  Padding rules = padding;
  rules.mask = at::ones({1, points}, options.dtype(at::kBool));
  return ops::why_by_operations(at::zeros({1, points, options_.in_channels}, options),
                                at::zeros({1, points, k}, options.dtype(at::kInt)), rules, there);
}

}  // namespace bunchtrain::nn
