// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/edge_conv.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include "edge_conv/cpu/mean_over_edges.hpp"
#include "edge_conv_operations.hpp"

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

at::Tensor edge_conv(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                     const EdgeConvLayers& layers) {
  const bool has_passes = features.is_cpu() && features.scalar_type() == layers.weights[0].scalar_type() &&
                          (features.scalar_type() == at::kFloat || features.scalar_type() == at::kDouble);
  return has_passes ? mean_by_cpu_passes(features, indices, padding, layers)
                    : detail::mean_by_operations(layers, features, indices, padding);
}

}  // namespace bunchtrain::ops
