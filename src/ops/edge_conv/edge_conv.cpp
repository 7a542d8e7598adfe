// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/edge_conv.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include "bunchtrain/ops/kernels.hpp"
#include "edge_conv/cpu/mean_over_edges.hpp"
#include "edge_conv_operations.hpp"
#include "fused.hpp"

namespace bunchtrain::ops {
namespace {

at::Tensor mean_by_cpu_passes(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                              const EdgeConvLayers& layers) {
  const bool narrow_edges = at::autocast::is_autocast_enabled(at::kCPU) &&
                            at::autocast::get_autocast_dtype(at::kCPU) == at::kBFloat16 &&
                            features.scalar_type() == at::kFloat;
  const at::ScalarType edge_type = narrow_edges ? at::kBFloat16 : features.scalar_type();
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const detail::SplitWeight first = detail::split_first_layer(layers.weights[0]);
  const at::Tensor terms = at::linear(features, at::cat({first.to_self, first.to_neighbour}))
                               .reshape({-1, 2 * layers.weights[0].size(0)});
  const at::Tensor mean =
      detail::mean_over_edges(layers, terms, detail::make_edge_plan(indices, padding), edge_type);
  return mean.reshape({features.size(0), features.size(1), layers.weights[2].size(0)});
}

}  // namespace

std::string why_by_operations(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                              const EdgeConvLayers& layers) {
  if (!features.is_cuda()) return {};
  const detail::FusedCall call = detail::fused_call(features, indices, padding, layers);
  const std::string problem = detail::why_not_fused(call);
  if (!problem.empty()) return problem;
  const detail::FusedCard card = detail::fused_card(features.device());
  return detail::why_not_on(card, detail::fused_bytes(card, call));
}

std::optional<at::Tensor> evaluated_edge_conv(const at::Tensor& features, const at::Tensor& indices,
                                              const Padding& padding, const EdgeConvLayers& layers,
                                              const EdgeConvShortcut& shortcut) {
  if (!features.is_cuda() || !detail::is_evaluated_block(features, layers, shortcut)) return std::nullopt;
  const detail::FusedCall call = detail::fused_call(features, indices, padding, layers);
  if (!detail::why_not_fused(call).empty() ||
      !detail::why_not_on(detail::fused_card(features.device()), /*bytes=*/0).empty())
    return std::nullopt;
  return detail::block_by_fused_passes(features, indices, padding, layers, shortcut);
}

at::Tensor edge_conv(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                     const EdgeConvLayers& layers) {
  const bool has_passes = kernels() == Kernels::automatic && features.is_cpu() &&
                          features.scalar_type() == layers.weights[0].scalar_type() &&
                          (features.scalar_type() == at::kFloat || features.scalar_type() == at::kDouble);
  if (has_passes) return mean_by_cpu_passes(features, indices, padding, layers);
  if (features.is_cuda() && why_by_operations(features, indices, padding, layers).empty())
    return detail::mean_by_fused_passes(features, indices, padding, layers);
  return detail::mean_by_operations(layers, features, indices, padding);
}

}  // namespace bunchtrain::ops
