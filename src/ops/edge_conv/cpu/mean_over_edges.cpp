// SPDX-License-Identifier: Apache-2.0
#include "mean_over_edges.hpp"

#include <ATen/ops/full.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "edge_conv/edge_variables.hpp"
#include "edge_passes.hpp"
#include "held_state.hpp"

namespace bunchtrain::ops::detail {
namespace {

using torch::autograd::AutogradContext;

/// What a call is made of besides differentiable tensors.
struct EdgeCall {
  const EdgeConvLayers* layers;
  EdgePlan plan;
  at::ScalarType edge_type;
  bool differentiable;
};

/// What stays for the backward pass. The two edge tensors are dropped after it, and made again if they are
/// missing: with `recompute`, or when a retained graph is walked again.
struct EdgeState {
  EdgePlan plan;
  at::ScalarType edge_type;
  std::array<Statistics, 3> statistics;
  std::shared_ptr<StatisticsReducer> reducer;
  EdgeTensors edges;
  PassedTensors passed;
};

class MeanOverEdges : public torch::autograd::Function<MeanOverEdges> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& terms, const at::Tensor& second,
                            const at::Tensor& third, const at::Tensor& weight0, const at::Tensor& bias0,
                            const at::Tensor& weight1, const at::Tensor& bias1, const at::Tensor& weight2,
                            const at::Tensor& bias2, EdgeCall* call) {
    const variable_list inputs = {terms, second, third, weight0, bias0, weight1, bias1, weight2, bias2};
    auto state = std::make_shared<EdgeState>();
    state->plan = std::move(call->plan);
    state->edge_type = call->edge_type;
    state->reducer = call->layers->norms[0].reducer;

    EdgePasses passes(state->plan, layers_of(inputs), state->edge_type);
    at::Tensor mean = run_forward(passes, call->layers->norms, *state, call->differentiable);
    if (call->layers->recompute) state->edges = {};
    if (call->differentiable) {
      context->save_for_backward(inputs);
      hold_state(context, std::move(state));
    }
    return mean;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto& state = held_state<EdgeState>(context);
    EdgePasses passes(state.plan, layers_of(context->get_saved_variables()), state.edge_type);
    for (std::size_t layer = 0; layer < 3; ++layer) passes.set_statistics(layer, state.statistics[layer]);
    if (!state.edges.second.defined()) {
      passes.forward_layer(1, state.edges);
      passes.forward_layer(2, state.edges);
    }
    EdgeGradients result = passes.backward(gradients[0].contiguous(), std::exchange(state.edges, {}),
                                           state.passed, state.reducer.get());
    return list_gradients(result);
  }

 private:
  static at::Tensor run_forward(EdgePasses& passes, const std::array<BatchNormTensors, 3>& norms,
                                EdgeState& state, bool differentiable) {
    const at::Tensor count = at::full({1}, state.plan.counted_edges(), at::TensorOptions(at::kDouble));
    const bool stores_edges = differentiable || std::ranges::any_of(norms, &BatchNormTensors::training);
    at::Tensor moments = norms[0].training ? passes.first_moments() : at::Tensor();
    for (std::size_t layer = 0; layer < 3; ++layer) {
      const BatchNormTensors& norm = norms[layer];
      state.statistics[layer] =
          norm.training ? batch_statistics(norm, moments, count) : running_statistics(norm);
      passes.set_statistics(layer, state.statistics[layer]);
      if (layer < 2 && stores_edges) moments = passes.forward_layer(layer + 1, state.edges);
    }
    return stores_edges ? passes.average(state.edges, differentiable ? &state.passed : nullptr)
                        : passes.infer();
  }
};

}  // namespace

at::Tensor mean_over_edges(const EdgeConvLayers& layers, const at::Tensor& terms, EdgePlan plan,
                           at::ScalarType edge_type) {
  const variable_list inputs = variables_of(layers, terms);
  EdgeCall call{&layers, std::move(plan), edge_type, are_differentiated(inputs)};
  return apply_function<MeanOverEdges>(inputs, &call);
}

}  // namespace bunchtrain::ops::detail
