// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loops over groups and pieces that the passes of edge_passes.hpp are made of. Forward ones are defined in
/// edge_forward.cpp, backward ones in edge_backward.cpp.

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "edge_passes.hpp"
#include "edge_tiles.hpp"
#include "rows/cpu/row_kernels.hpp"

namespace bunchtrain::ops::detail {

/// A piece's widest edge rows take about this many bytes: two or three such buffers and a weight
/// share the second-level cache.
inline constexpr std::int64_t kPieceBytes = 256 * 1024;

template <class T>
const T* data_of(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <class T>
T* writable(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

template <class R>
Affine<R> affine_of(const Normaliser& normaliser) {
  return {data_of<R>(normaliser.scale), data_of<R>(normaliser.shift)};
}
template <class R>
Affine<R> affine_of(const Correction& correction) {
  return {data_of<R>(correction.slope), data_of<R>(correction.offset)};
}

/// `sums` [groups, ...] added up in the order of the groups.
inline at::Tensor add_groups(const at::Tensor& sums) { return sums.sum(0); }

/// The loops for edges of storage type S. Each runs over all groups in parallel, piece by piece.
template <class S>
struct EdgePasses::Loops {
  using R = Real<S>;

  const EdgePasses& passes;
  const EdgePlan& plan = passes.plan_;
  std::array<std::int64_t, 3> channels = passes.channels_;
  std::int64_t piece_nodes = std::max<std::int64_t>(
      1, kPieceBytes / (plan.k * *std::ranges::max_element(channels) * static_cast<std::int64_t>(sizeof(S))));

  std::int64_t group_count() const { return static_cast<std::int64_t>(plan.groups.size()); }
  at::Tensor buffer(std::size_t layer) const {
    return at::empty({piece_nodes * plan.k, channels[layer]}, passes.edge_type_);
  }
  at::Tensor sums(std::size_t layer) const {
    return at::zeros({group_count(), 2, channels[layer]}, at::kDouble);
  }
  double* sum_of(const at::Tensor& sums, std::int64_t group) const {
    return writable<double>(sums) + group * 2 * sums.size(2);
  }

  static PassedSums<R> sums_of(const PassedTensors& passed) {
    return {writable<R>(passed.count), writable<R>(passed.sum)};
  }
  std::int64_t rows(const EdgePiece& piece) const { return (piece.last_node - piece.first_node) * plan.k; }
  at::Tensor slice(const at::Tensor& edges, const EdgePiece& piece) const {
    return edges.narrow(0, piece.first_node * plan.k, rows(piece));
  }
  const std::int32_t* nodes(const EdgePiece& piece) const { return plan.nodes.data() + piece.first_node; }
  EdgeTile<R> tile(const EdgePiece& piece) const {
    return {.terms = data_of<R>(passes.layers_.terms),
            .indices = data_of<std::int32_t>(plan.indices),
            .nodes = nodes(piece),
            .node_count = piece.last_node - piece.first_node,
            .points = plan.points,
            .k = plan.k,
            .channels = channels[0]};
  }

  /// Calls `work(group number, group)` for all groups. Plain LibTorch calls inside take no part
  /// in autograd or autocast.
  template <class Work>
  void for_groups(Work&& work) const {
    at::parallel_for(0, group_count(), 1, [&](std::int64_t first, std::int64_t last) {
      const at::AutoDispatchBelowADInplaceOrView no_autograd;
      const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
      for (std::int64_t group = first; group < last; ++group)
        work(group, plan.groups[static_cast<std::size_t>(group)]);
    });
  }

  /// The activations of a layer for one piece, into the first rows of `buffer`, which are returned.
  at::Tensor activate(std::size_t layer, const EdgePiece& piece, const EdgeTensors& edges,
                      const at::Tensor& buffer) const {
    const auto affine = affine_of<R>(passes.normalisers_[layer]);
    if (layer == 0) {
      activate_edges(tile(piece), affine, writable<S>(buffer));
    } else {
      apply_affine(data_of<S>(slice(edges.second, piece)), writable<S>(buffer), rows(piece), channels[1],
                   affine, Activation::relu);
    }
    return buffer.narrow(0, 0, rows(piece));
  }

  at::Tensor first_moments() const;
  at::Tensor forward_layer(std::size_t layer, EdgeTensors& edges) const;
  void average_piece(const S* edges, const EdgePiece& piece, const at::Tensor& mean) const;
  void average(const EdgeTensors& edges, const at::Tensor& mean, const PassedTensors* passed) const;
  void infer(const at::Tensor& mean) const;

  /// Sums for the backward pass of the last batch norm, without a look at the edges.
  at::Tensor average_moments(const at::Tensor& gradient, const PassedTensors& passed) const;
  /// From the gradient of the mean to that of the second layer's activations, which is returned ([edges,
  /// C2]); adds up the third layer's weight gradient and the sums for the second batch norm.
  at::Tensor backward_third(const at::Tensor& gradient, const EdgeTensors& edges,
                            const Correction& correction, at::Tensor& weight_gradient,
                            at::Tensor& moments) const;
  /// From the gradient of the second layer's activations to that of u and v in front of the first batch norm.
  void backward_second(const at::Tensor& gradient, const EdgeTensors& edges, const Correction& correction,
                       at::Tensor& weight_gradient, const at::Tensor& terms_gradient) const;
  /// The first batch norm's backward pass, edge by edge, on the gradients of u and v.
  void backward_first(const Correction& correction, const at::Tensor& terms_gradient) const;
};

template <class Call>
void EdgePasses::with_loops(Call&& call) const {
  if (edge_type_ == at::kDouble) return call(Loops<double>{*this});
  if (edge_type_ == at::kFloat) return call(Loops<float>{*this});
  call(Loops<Bf16>{*this});
}

}  // namespace bunchtrain::ops::detail
