// SPDX-License-Identifier: Apache-2.0
#include "edge_conv_reference.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/relu.h>

namespace bunchtrain::nn {
namespace {

/// Batch norm of [rows, C] with the statistics of the rows that count.
at::Tensor normalise(const at::Tensor& rows, BatchNorm norm, const at::Tensor& counted) {
  at::Tensor mean = norm->running_mean, variance = norm->running_var;
  if (norm->is_training()) {
    const at::Tensor some = rows.index({counted});
    mean = some.mean(0);
    variance = some.sub(mean).square().mean(0);
  }
  return rows.sub(mean).div(variance.add(1e-5).sqrt()).mul(norm->weight).add(norm->bias);
}

/// Neighbour lists with those of padded points made as the published networks do: padded
/// points lie together, far away.
at::Tensor published_neighbours(const at::Tensor& indices, const at::Tensor& mask) {
  const at::Tensor result = indices.to(at::kLong).clone();
  for (std::int64_t b = 0; b < indices.size(0); ++b) {
    for (std::int64_t i = 0; i < indices.size(1); ++i) {
      if (mask[b][i].item<bool>()) continue;
      std::int64_t slot = 0;
      for (const bool real : {false, true}) {
        for (std::int64_t j = 0; j < indices.size(1) && slot < indices.size(2); ++j) {
          if (j != i && mask[b][j].item<bool>() == real) result[b][i][slot++].fill_(j);
        }
      }
    }
  }
  return result;
}

}  // namespace

at::Tensor reference_edge_conv(EdgeConvBlock block, const at::Tensor& features, const at::Tensor& indices,
                               const Padding& padding) {
  const std::int64_t sets = features.size(0), points = features.size(1), channels = features.size(2),
                     k = indices.size(2);
  const at::Tensor neighbours = published_neighbours(indices, padding.mask);
  const at::Tensor own = features.unsqueeze(2).expand({sets, points, k, channels});
  const at::Tensor place = neighbours.reshape({sets, points * k, 1}).expand({sets, points * k, channels});
  const at::Tensor other = features.gather(1, place).reshape({sets, points, k, channels});
  const at::Tensor counted = padding.counted ? at::ones_like(padding.mask) : padding.mask;

  at::Tensor rows = at::cat({own, other.sub(own)}, 3).reshape({-1, 2 * channels});
  const at::Tensor edge_counts = counted.unsqueeze(2).expand({sets, points, k}).reshape({-1});
  for (std::size_t layer = 0; layer < 3; ++layer) {
    rows = at::relu(normalise(at::linear(rows, block->layer_weight(layer).flatten(1)),
                              block->layer_norm(layer), edge_counts));
  }
  const at::Tensor mean = rows.reshape({sets, points, k, -1}).mean(2);
  at::Tensor shortcut = features;
  const auto parameters = block->named_parameters();
  if (const at::Tensor* weight = parameters.find("sc.weight")) {
    const auto children = block->named_children();
    const BatchNorm norm(std::dynamic_pointer_cast<BatchNormImpl>(children["sc_bn"]));
    const at::Tensor projected = at::linear(features, weight->flatten(1)).reshape({sets * points, -1});
    shortcut = normalise(projected, norm, counted.reshape({-1})).reshape(mean.sizes());
  }
  const at::Tensor out = at::relu(mean.add(shortcut));
  return padding.zeroed ? out.mul(padding.mask.unsqueeze(2)) : out;
}

}  // namespace bunchtrain::nn
