// SPDX-License-Identifier: Apache-2.0
#include "edges_by_libtorch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

namespace bunchtrain::ops::detail {
namespace {

/// Sums of 16 bits would lose what each term adds.
at::Tensor widened(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return type == at::kBFloat16 || type == at::kHalf ? tensor.to(at::kFloat) : tensor;
}

/// [B P K]: the place of each edge's neighbour among the points of all sets.
at::Tensor places_of(const at::Tensor& indices) {
  const at::Tensor first = at::arange(indices.size(0), indices.options().dtype(at::kLong)) * indices.size(1);
  return (indices.to(at::kLong) + first.view({-1, 1, 1})).reshape({-1});
}

}  // namespace

at::Tensor gathered_by_libtorch(const at::Tensor& features, const at::Tensor& indices) {
  return at::index_select(widened(features).flatten(0, 1), 0, places_of(indices))
      .view({indices.size(0), indices.size(1), indices.size(2), features.size(2)})
      .to(features.scalar_type());
}

at::Tensor scattered_by_libtorch(const at::Tensor& edges, const at::Tensor& indices) {
  const at::Tensor rows = widened(edges).flatten(0, 2);
  const at::Tensor none = at::zeros({edges.size(0) * edges.size(1), edges.size(3)}, rows.options());
  return at::index_add(none, 0, places_of(indices), rows)
      .view({edges.size(0), edges.size(1), edges.size(3)})
      .to(edges.scalar_type());
}

}  // namespace bunchtrain::ops::detail
