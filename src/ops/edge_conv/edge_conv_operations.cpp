// SPDX-License-Identifier: Apache-2.0
#include "edge_conv_operations.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "bunchtrain/ops/edge_ops.hpp"
#include "held_state.hpp"
#include "padding.hpp"

namespace bunchtrain::ops::detail {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor run_layers(const EdgeConvLayers& layers, const at::Tensor& features, const at::Tensor& neighbours,
                      const std::optional<at::Tensor>& counted) {
  const SplitWeight first = split_first_layer(layers.weights[0]);
  at::Tensor edges =
      edge_sum(at::linear(features, first.to_self), at::linear(features, first.to_neighbour), neighbours);
  const auto edge_mask =
      counted ? std::optional(counted->unsqueeze(2).expand(neighbours.sizes())) : std::nullopt;
  edges = ops::batch_norm(edges, layers.norms[0], edge_mask, /*relu=*/true);
  for (std::size_t layer = 1; layer < 3; ++layer) {
    edges = at::linear(edges, layers.weights[layer].flatten(1));
    edges = ops::batch_norm(edges, layers.norms[layer], edge_mask, /*relu=*/true);
  }
  return edges.mean(2).to(features.scalar_type());
}

/// Autocast of one kind of device.
struct Autocast {
  bool enabled;
  at::ScalarType dtype;

  static Autocast of(c10::DeviceType device) {
    return {at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
  }
  void set(c10::DeviceType device) const {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, dtype);
  }
};

/// What the layers are run again with.
struct LayersCall {
  EdgeConvLayers layers;
  at::Tensor neighbours;
  std::optional<at::Tensor> counted;
  Autocast autocast;
};

/// Autocast for a scope: backward runs outside the one that forward ran in.
class AutocastScope {
 public:
  AutocastScope(c10::DeviceType device, const Autocast& autocast)
      : device_(device), before_(Autocast::of(device)) {
    autocast.set(device_);
  }
  ~AutocastScope() { before_.set(device_); }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  c10::DeviceType device_;
  Autocast before_;
};

/// The layers with nothing kept per edge. Parameters are arguments so that they get
/// their gradients from here.
class RecomputedLayers : public torch::autograd::Function<RecomputedLayers> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs,
                            std::shared_ptr<LayersCall> call) {
    at::Tensor mean = run_layers(call->layers, inputs[0], call->neighbours, call->counted);
    context->save_for_backward(inputs.vec());
    for (BatchNormTensors& norm : call->layers.norms) norm.tracks = false;  // once was enough
    hold_state(context, std::move(call));
    return mean;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto& call = held_state<LayersCall>(context);
    variable_list inputs = context->get_saved_variables();
    inputs[0] = inputs[0].detach().requires_grad_();
    const c10::AutoGradMode with_gradients(true);
    const AutocastScope autocast(inputs[0].device().type(), call.autocast);
    const at::Tensor mean = run_layers(call.layers, inputs[0], call.neighbours, call.counted);
    variable_list result =
        torch::autograd::grad({mean}, inputs, {gradients[0]}, /*retain_graph=*/std::nullopt,
                              /*create_graph=*/false, /*allow_unused=*/true);
    result.emplace_back();
    return result;
  }
};

}  // namespace

SplitWeight split_first_layer(const at::Tensor& weight) {
  const auto halves = weight.flatten(1).chunk(2, 1);
  return {halves[0].sub(halves[1]), halves[1]};
}

at::Tensor mean_by_operations(const EdgeConvLayers& layers, const at::Tensor& features,
                              const at::Tensor& indices, const Padding& padding) {
  const at::Tensor neighbours = join_padding(indices, padding.mask);
  const auto counted = padding.counted_rows();
  if (!layers.recompute || !c10::GradMode::is_enabled())
    return run_layers(layers, features, neighbours, counted);

  variable_list inputs = {features};
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const BatchNormTensors& norm = layers.norms[layer];
    inputs.insert(inputs.end(), {layers.weights[layer], norm.weight, norm.bias});
  }
  return RecomputedLayers::apply(at::TensorList(inputs),
                                 std::make_shared<LayersCall>(LayersCall{
                                     layers, neighbours, counted, Autocast::of(features.device().type())}));
}

}  // namespace bunchtrain::ops::detail
