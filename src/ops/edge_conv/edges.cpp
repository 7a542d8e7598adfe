// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/edge_ops.hpp"
#include "bunchtrain/ops/gather_neighbours.hpp"
#include "bunchtrain/ops/kernels.hpp"
#include "edge_conv/cuda/reverse_index_plan.hpp"
#include "edge_kernels.hpp"
#include "edges_by_libtorch.hpp"
#include "tensor_text.hpp"

namespace bunchtrain::ops {

namespace detail {

void require_countable(const EdgeShape& shape, std::int64_t sets) {
  if (can_be_numbered(shape, sets)) return;
  throw ConfigError(
      fmt::format("{} sets of {} points with {} neighbours each have too many edges for their gradient on "
                  "a GPU: a set may have 2^31 - 1 edges, all sets together 2^32 points",
                  sets, shape.points, shape.neighbours));
}

}  // namespace detail

namespace {

using detail::tensor_text;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

bool is_supported(const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf;
}

void check_floating(const at::Tensor& tensor, std::int64_t dims, std::string_view field,
                    std::string_view allowed) {
  if (!tensor.defined() || tensor.dim() != dims || !is_supported(tensor))
    throw ConfigError(field, tensor_text(tensor),
                      fmt::format("{} float32, float64, bfloat16 or float16", allowed));
}

void check_indices_in_range(const at::Tensor& indices, std::int64_t num_points) {
  const auto* begin = indices.const_data_ptr<std::int32_t>();
  const auto* end = begin + indices.numel();
  const auto* bad =
      std::find_if(begin, end, [&](std::int32_t index) { return index < 0 || index >= num_points; });
  if (bad == end) return;
  const std::int64_t edge = bad - begin, neighbours = indices.size(2);
  const std::int64_t point = edge / neighbours;
  throw ConfigError(
      fmt::format("indices[{}, {}, {}]", point / num_points, point % num_points, edge % neighbours),
      fmt::format("{}", *bad), fmt::format("0 to {}, a point of the set", num_points - 1));
}

/// Contiguous indices that fit to [B, P, ...] `tensor`.
at::Tensor checked_indices(const at::Tensor& indices, const at::Tensor& tensor) {
  const bool fits = indices.defined() && indices.scalar_type() == at::kInt && indices.dim() == 3 &&
                    indices.sizes().slice(0, 2) == tensor.sizes().slice(0, 2) &&
                    indices.device() == tensor.device();
  if (!fits)
    throw ConfigError("indices", tensor_text(indices),
                      fmt::format("[{}, {}, K] int32 on {}, as knn gives them", tensor.size(0),
                                  tensor.size(1), tensor.device().str()));
  const at::Tensor contiguous = indices.contiguous();
  if (!contiguous.is_cuda()) check_indices_in_range(contiguous, tensor.size(1));
  return contiguous;
}

at::Tensor spread(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices) {
  const at::Tensor out = at::empty({v.size(0), v.size(1), indices.size(2), v.size(2)}, v.options());
  const at::Tensor own = u.defined() ? u.contiguous() : u;
  v.is_cuda() ? detail::spread_to_edges_cuda(own, v.contiguous(), indices, out)
              : detail::spread_to_edges_cpu(own, v.contiguous(), indices, out);
  return out;
}

struct NodeSums {
  at::Tensor u;
  at::Tensor v;
};

NodeSums collect(const at::Tensor& edges, const at::Tensor& indices, bool with_u) {
  const auto sizes = {edges.size(0), edges.size(1), edges.size(3)};
  const NodeSums sums{with_u ? at::empty(sizes, edges.options()) : at::Tensor(),
                      at::empty(sizes, edges.options())};
  edges.is_cuda() ? detail::collect_from_edges_cuda(edges.contiguous(), indices, sums.u, sums.v)
                  : detail::collect_from_edges_cpu(edges.contiguous(), indices, sums.u, sums.v);
  return sums;
}

// Each operation's backward is the other one of its pair, called as a differentiable function: gradients of
// any order exist.

struct Gather : torch::autograd::Function<Gather> {
  static Variable forward(AutogradContext* context, const Variable& features, const Variable& indices) {
    context->save_for_backward({indices});
    return spread({}, features, indices);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients);
};

struct Scatter : torch::autograd::Function<Scatter> {
  static Variable forward(AutogradContext* context, const Variable& edges, const Variable& indices) {
    context->save_for_backward({indices});
    return collect(edges, indices, false).v;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {Gather::apply(gradients[0], context->get_saved_variables()[0]), Variable()};
  }
};

variable_list Gather::backward(AutogradContext* context, const variable_list& gradients) {
  return {Scatter::apply(gradients[0], context->get_saved_variables()[0]), Variable()};
}

struct EdgeSum : torch::autograd::Function<EdgeSum> {
  static Variable forward(AutogradContext* context, const Variable& u, const Variable& v,
                          const Variable& indices) {
    context->save_for_backward({indices});
    return spread(u, v, indices);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients);
};

struct NodeSum : torch::autograd::Function<NodeSum> {
  static variable_list forward(AutogradContext* context, const Variable& edges, const Variable& indices) {
    context->save_for_backward({indices});
    const NodeSums sums = collect(edges, indices, true);
    return {sums.u, sums.v};
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {EdgeSum::apply(gradients[0], gradients[1], context->get_saved_variables()[0]), Variable()};
  }
};

variable_list EdgeSum::backward(AutogradContext* context, const variable_list& gradients) {
  const variable_list sums = NodeSum::apply(gradients[0], context->get_saved_variables()[0]);
  return {sums[0], sums[1], Variable()};
}

/// Our kernels choose their precision themselves: autocast must not touch what they call.
class NoAutocast {
 private:
  c10::impl::ExcludeDispatchKeyGuard guard_{c10::autocast_dispatch_keyset};
};

}  // namespace

at::Tensor gather_neighbours(const at::Tensor& features, const at::Tensor& indices) {
  const NoAutocast no_autocast;
  check_floating(features, 3, "features of gather_neighbours", "[B, P, C]");
  const at::Tensor checked = checked_indices(indices, features);
  if (kernels() == Kernels::libtorch) return detail::gathered_by_libtorch(features, checked);
  return Gather::apply(features, checked);
}

at::Tensor scatter_neighbours(const at::Tensor& edges, const at::Tensor& indices) {
  const NoAutocast no_autocast;
  check_floating(edges, 4, "edges of scatter_neighbours", "[B, P, K, C]");
  const at::Tensor checked = checked_indices(indices, edges);
  if (checked.size(2) != edges.size(2))
    throw ConfigError("indices of scatter_neighbours", tensor_text(indices),
                      fmt::format("{} neighbours, as the edges", edges.size(2)));
  if (kernels() == Kernels::libtorch) return detail::scattered_by_libtorch(edges, checked);
  return Scatter::apply(edges, checked);
}

at::Tensor edge_sum(const at::Tensor& u, const at::Tensor& v, const at::Tensor& indices) {
  const NoAutocast no_autocast;
  check_floating(u, 3, "u of edge_sum", "[B, P, C]");
  check_floating(v, 3, "v of edge_sum", "[B, P, C]");
  if (u.sizes() != v.sizes() || u.device() != v.device())
    throw ConfigError("v of edge_sum", tensor_text(v),
                      fmt::format("shape and device of u, {}", tensor_text(u)));
  const auto type = c10::promoteTypes(u.scalar_type(), v.scalar_type());
  const at::Tensor checked = checked_indices(indices, u);
  if (kernels() == Kernels::libtorch)
    return u.to(type).unsqueeze(2).add(detail::gathered_by_libtorch(v.to(type), checked));
  return EdgeSum::apply(u.to(type), v.to(type), checked);
}

}  // namespace bunchtrain::ops
