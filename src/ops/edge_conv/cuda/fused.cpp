// SPDX-License-Identifier: Apache-2.0
#include "../fused.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "../edge_conv_operations.hpp"
#include "bunchtrain/device/detail/cuda_check.cuh"
#include "edge_tiles.hpp"
#include "fused_mean.hpp"

namespace bunchtrain::ops::detail {
namespace {

int attribute_of(c10::Device device, cudaDeviceAttr attribute) {
  int value = 0;
  device::check_cuda(cudaDeviceGetAttribute(&value, attribute, device.index()), "look at the GPU");
  return value;
}

/// Products of points [points, ...], under autocast in its dtype, as every linear layer: u and v of the first layer, then
/// `more` [C, Cin], if it is defined.
at::Tensor rows_of_points(const at::Tensor& features, const EdgeConvLayers& layers, const at::Tensor& more) {
  const SplitWeight first = split_first_layer(layers.weights[0]);
  std::vector<at::Tensor> weights = {first.to_self, first.to_neighbour};
  if (more.defined()) weights.push_back(more.flatten(1));
  const at::Tensor rows = at::linear(features, at::cat(weights));
  return rows.reshape({-1, rows.size(-1)});
}

at::Tensor of_sets(const at::Tensor& rows, const at::Tensor& features) {
  return rows.reshape({features.size(0), features.size(1), rows.size(1)});
}

int width_of(const FusedCall& call) { return fused_width(static_cast<int>(std::ranges::max(call.channels))); }

TrainingKind training_on(const FusedCard& card, const FusedCall& call) {
  const device::Precision precision = precision_of(call);
  const auto tiles_of = [&]<class S>(S) {
    return training_tiles<S>(card.compute_capability, width_of(call));
  };
  return {precision, {.tiles = with_edges_of(precision, tiles_of)}};
}

/// Nothing if a block of the evaluation has not enough shared memory.
std::optional<EvaluationKind> evaluation_on(const FusedCard& card, const EdgeConvLayers& layers,
                                            device::Precision precision) {
  std::int64_t widest = 0;
  for (const at::Tensor& weight : layers.weights) widest = std::max(widest, weight.size(0));
  const int width = fused_width(static_cast<int>(widest));
  const EvaluationKind kind{precision, evaluation_nodes(card.compute_capability, width)};
  const std::size_t bytes =
      with_edges_of(precision, [&]<class S>(S) { return fused_evaluation_bytes<S>(width, kind.tile_nodes); });
  if (static_cast<std::int64_t>(bytes) > card.shared_bytes) return std::nullopt;
  return kind;
}

}  // namespace

FusedCard fused_card(c10::Device device) {
  return {.compute_capability = 10 * attribute_of(device, cudaDevAttrComputeCapabilityMajor) +
                                attribute_of(device, cudaDevAttrComputeCapabilityMinor),
          .shared_bytes = attribute_of(device, cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

std::int64_t fused_bytes(const FusedCard& card, const FusedCall& call) {
  const int width = width_of(call), points = static_cast<int>(call.points);
  const auto bytes_of = [&]<class S>(S) {
    const TrainingTiles tiles = training_tiles<S>(card.compute_capability, width);
    std::size_t most = 0;
    for (const EdgePass pass : kEdgePasses)
      most = std::max(most, pass_bytes<S>(pass, width, tiles.of(pass), points));
    return most;
  };
  return static_cast<std::int64_t>(with_edges_of(precision_of(call), bytes_of));
}

std::optional<at::Tensor> block_by_fused_passes(const at::Tensor& features, const at::Tensor& indices,
                                                const Padding& padding, const EdgeConvLayers& layers,
                                                const EdgeConvShortcut& shortcut) {
  const c10::DeviceGuard guard(features.device());
  const device::Precision precision = precision_of(fused_call(features, indices, padding, layers));
  const auto kind = evaluation_on(fused_card(features.device()), layers, precision);
  if (!kind) return std::nullopt;
  const at::Tensor rows = rows_of_points(features, layers, shortcut.weight);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return of_sets(evaluated_block(layers, shortcut, {.rows = rows, .features = features}, padding,
                                 list_nodes(indices, padding), *kind),
                 features);
}

at::Tensor mean_by_fused_passes(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                                const EdgeConvLayers& layers) {
  const c10::DeviceGuard guard(features.device());
  const FusedCall call = fused_call(features, indices, padding, layers);
  const FusedCard card = fused_card(features.device());
  const at::Tensor rows = rows_of_points(features, layers, {});
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  FusedNodes nodes = list_nodes(indices, padding);
  const auto kind =
      is_evaluation(layers, rows) ? evaluation_on(card, layers, precision_of(call)) : std::nullopt;
  return of_sets(
      kind ? evaluated_mean(layers, rows, nodes, *kind)
           : mean_over_fused_edges(layers, rows.to(at::kFloat), std::move(nodes), training_on(card, call)),
      features);
}

}  // namespace bunchtrain::ops::detail
