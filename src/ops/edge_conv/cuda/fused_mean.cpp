// SPDX-License-Identifier: Apache-2.0
#include "fused_mean.hpp"

#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "edge_conv/edge_variables.hpp"
#include "held_state.hpp"

namespace bunchtrain::ops::detail {
namespace {

using torch::autograd::AutogradContext;

/// What a call is made of besides differentiable tensors.
struct FusedCallState {
  const EdgeConvLayers* layers;
  FusedNodes nodes;
  TrainingCut cut;
  bool differentiable;
};

/// What stays for the backward pass. The two edge tensors are dropped after it, and made again if they are
/// missing: with `recompute`, or when a retained graph is walked again.
struct FusedState {
  FusedNodes nodes;
  TrainingCut cut;
  std::array<RowNorm, 3> norms;
  std::shared_ptr<StatisticsReducer> reducer;
  EdgeTensors edges;
  PassedTensors passed;
};

template <class S>
class MeanOverFusedEdges : public torch::autograd::Function<MeanOverFusedEdges<S>> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& terms, const at::Tensor& second,
                            const at::Tensor& third, const at::Tensor& weight0, const at::Tensor& bias0,
                            const at::Tensor& weight1, const at::Tensor& bias1, const at::Tensor& weight2,
                            const at::Tensor& bias2, FusedCallState* call) {
    const c10::DeviceGuard guard(terms.device());
    const variable_list inputs = {terms, second, third, weight0, bias0, weight1, bias1, weight2, bias2};
    auto state = std::make_shared<FusedState>();
    state->nodes = std::move(call->nodes);
    state->cut = call->cut;
    state->reducer = call->layers->norms[0].reducer;
    at::Tensor mean = run_forward(layers_of(inputs), call->layers->norms, *state, call->differentiable);
    if (call->layers->recompute) state->edges = {};
    if (call->differentiable) {
      context->save_for_backward(inputs);
      hold_state(context, std::move(state));
    }
    return mean;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto& state = held_state<FusedState>(context);
    const c10::DeviceGuard guard(gradients[0].device());
    FusedPasses<S> passes(state.nodes, layers_of(context->get_saved_variables()), state.cut);
    for (std::size_t layer = 0; layer < 3; ++layer) passes.set_norm(layer, state.norms[layer]);
    if (!state.edges.second.defined()) {
      passes.forward_layer(1, state.edges, /*with_sums=*/false);
      passes.forward_layer(2, state.edges, /*with_sums=*/false);
    }
    const EdgeGradients result =
        passes.backward(gradients[0], std::exchange(state.edges, {}), state.passed, state.reducer.get());
    return list_gradients(result);
  }

 private:
  static at::Tensor run_forward(const EdgeLayers& layers, const std::array<BatchNormTensors, 3>& norms,
                                FusedState& state, bool differentiable) {
    FusedPasses<S> passes(state.nodes, layers, state.cut);
    at::Tensor sums = norms[0].training ? passes.first_sums() : at::Tensor();
    for (std::size_t layer = 0; layer < 3; ++layer) {
      state.norms[layer] = row_norm_of_partials(norms[layer], sums, /*relu=*/true);
      passes.set_norm(layer, state.norms[layer]);
      if (layer < 2) sums = passes.forward_layer(layer + 1, state.edges, norms[layer + 1].training);
    }
    return passes.average(state.edges, differentiable ? &state.passed : nullptr);
  }
};

template <class S>
at::Tensor evaluate(const EdgeConvLayers& layers, const EdgeLayers& inputs, const FusedNodes& nodes,
                    int tile_nodes, const EvaluatedShortcut* shortcut) {
  FusedPasses<S> passes(nodes, inputs);
  for (std::size_t layer = 0; layer < 3; ++layer)
    passes.set_norm(layer, row_norm_of_partials(layers.norms[layer], at::Tensor(), /*relu=*/true));
  return passes.evaluate(tile_nodes, shortcut);
}

at::Tensor evaluated(const EdgeConvLayers& layers, const at::Tensor& rows, const FusedNodes& nodes,
                     const EvaluationKind& kind, const EvaluatedShortcut* shortcut) {
  const c10::DeviceGuard guard(rows.device());
  const EdgeLayers inputs = layers_of(variables_of(
      layers, rows.to(kind.precision == device::Precision::bfloat16 ? at::kBFloat16 : at::kFloat)));
  return with_edges_of(kind.precision, [&]<class S>(S) {
    return evaluate<S>(layers, inputs, nodes, kind.tile_nodes, shortcut);
  });
}

}  // namespace

bool is_evaluation(const EdgeConvLayers& layers, const at::Tensor& terms) {
  return std::ranges::none_of(layers.norms, &BatchNormTensors::training) &&
         !are_differentiated(variables_of(layers, terms));
}

at::Tensor evaluated_mean(const EdgeConvLayers& layers, const at::Tensor& terms, const FusedNodes& nodes,
                          const EvaluationKind& kind) {
  return evaluated(layers, terms, nodes, kind, nullptr);
}

at::Tensor evaluated_block(const EdgeConvLayers& layers, const EdgeConvShortcut& shortcut,
                           const BlockInputs& inputs, const Padding& padding, const FusedNodes& nodes,
                           const EvaluationKind& kind) {
  EvaluatedShortcut around;
  if (shortcut.weight.defined())
    around.norm = row_norm_of_partials(shortcut.norm, at::Tensor(), /*relu=*/false);
  else
    around.features = inputs.features.detach().contiguous();
  if (padding.zeroed) around.mask = padding.mask.contiguous();
  return evaluated(layers, inputs.rows, nodes, kind, &around);
}

at::Tensor mean_over_fused_edges(const EdgeConvLayers& layers, const at::Tensor& terms, FusedNodes nodes,
                                 const TrainingKind& kind) {
  const variable_list inputs = variables_of(layers, terms);
  FusedCallState call{&layers, std::move(nodes), kind.cut, are_differentiated(inputs)};
  return with_edges_of(kind.precision,
                       [&]<class S>(S) { return apply_function<MeanOverFusedEdges<S>>(inputs, &call); });
}

}  // namespace bunchtrain::ops::detail
