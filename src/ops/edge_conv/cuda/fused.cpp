// SPDX-License-Identifier: Apache-2.0
#include "../fused.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <utility>

#include "../edge_conv_operations.hpp"
#include "bunchtrain/device/detail/cuda_check.cuh"
#include "fused_mean.hpp"

namespace bunchtrain::ops::detail {
namespace {

int attribute_of(c10::Device device, cudaDeviceAttr attribute) {
  int value = 0;
  device::check_cuda(cudaDeviceGetAttribute(&value, attribute, device.index()), "look at the GPU");
  return value;
}

std::int64_t evaluation_bytes(const EdgeConvLayers& layers, at::ScalarType edge_type) {
  std::int64_t widest = 0;
  for (const at::Tensor& weight : layers.weights) widest = std::max(widest, weight.size(0));
  const int width = fused_width(static_cast<int>(widest));
  return static_cast<std::int64_t>(edge_type == at::kBFloat16 ? fused_evaluation_bytes<Bf16>(width)
                                                              : fused_evaluation_bytes<float>(width));
}

}  // namespace

FusedCard fused_card(c10::Device device) {
  return {.compute_capability = 10 * attribute_of(device, cudaDevAttrComputeCapabilityMajor) +
                                attribute_of(device, cudaDevAttrComputeCapabilityMinor),
          .shared_bytes = attribute_of(device, cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

std::int64_t fused_bytes(const FusedCall& call) {
  const int width = fused_width(static_cast<int>(std::ranges::max(call.channels)));
  const auto bytes_of = [&]<class S>(S) {
    return std::max(fused_forward_bytes<S>(width),
                    fused_backward_bytes<S>(width, static_cast<int>(call.points)));
  };
  return static_cast<std::int64_t>(call.edges == at::kBFloat16 ? bytes_of(Bf16{}) : bytes_of(float{}));
}

at::Tensor mean_by_fused_passes(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                                const EdgeConvLayers& layers) {
  const c10::DeviceGuard guard(features.device());
  const at::ScalarType edge_type = fused_call(features, indices, padding, layers).edges;
  const SplitWeight first = split_first_layer(layers.weights[0]);
  // Under autocast in its dtype, as every linear layer.
  const at::Tensor terms = at::linear(features, at::cat({first.to_self, first.to_neighbour}))
                               .to(at::kFloat)
                               .reshape({-1, 2 * layers.weights[0].size(0)});
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  FusedNodes nodes = list_nodes(indices, padding);
  const bool at_once = is_evaluation(layers, terms) &&
                       evaluation_bytes(layers, edge_type) <= fused_card(features.device()).shared_bytes;
  const at::Tensor mean = at_once ? evaluated_mean(layers, terms, nodes, edge_type)
                                  : mean_over_fused_edges(layers, terms, std::move(nodes), edge_type);
  return mean.reshape({features.size(0), features.size(1), layers.weights[2].size(0)});
}

}  // namespace bunchtrain::ops::detail
