// SPDX-License-Identifier: Apache-2.0
#include "edge_passes.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "edge_tiles.hpp"
#include "rows/cpu/row_kernels.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// A piece's widest edge rows take about this many bytes: two or three such buffers and a weight
/// share the second-level cache.
constexpr std::int64_t kPieceBytes = 256 * 1024;

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
at::Tensor add_groups(const at::Tensor& sums) { return sums.sum(0); }

}  // namespace

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
                   affine, true);
    }
    return buffer.narrow(0, 0, rows(piece));
  }

  at::Tensor first_moments() const {
    const at::Tensor all = sums(0);
    for_groups([&](std::int64_t g, const EdgeGroup& group) {
      double* sum = sum_of(all, g);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        if (piece.counted) add_edge_moments(tile(piece), sum, sum + channels[0]);
      }
    });
    return add_groups(all);
  }

  at::Tensor forward_layer(std::size_t layer, EdgeTensors& edges) const {
    at::Tensor& target = layer == 1 ? edges.second : edges.third;
    target = at::empty({plan.edges(), channels[layer]}, passes.edge_type_);
    const at::Tensor weight = passes.edge_weights_[layer].t();
    const at::Tensor all = sums(layer);
    for_groups([&](std::int64_t g, const EdgeGroup& group) {
      const at::Tensor activations = buffer(layer - 1);
      double* sum = sum_of(all, g);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        at::Tensor out = slice(target, piece);
        at::mm_out(out, activate(layer - 1, piece, edges, activations), weight);
        if (piece.counted)
          add_moments(data_of<S>(out), rows(piece), channels[layer], sum, sum + channels[layer]);
      }
    });
    return add_groups(all);
  }

  void average_piece(const S* edges, const EdgePiece& piece, const at::Tensor& mean) const {
    average_edges(edges, nodes(piece), piece.last_node - piece.first_node, plan.k, channels[2],
                  affine_of<R>(passes.normalisers_[2]), writable<R>(mean));
  }

  void average(const EdgeTensors& edges, const at::Tensor& mean) const {
    for_groups([&](std::int64_t, const EdgeGroup& group) {
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        average_piece(data_of<S>(slice(edges.third, piece)), piece, mean);
      }
    });
  }

  void infer(const at::Tensor& mean) const {
    const at::Tensor second = passes.edge_weights_[1].t(), third = passes.edge_weights_[2].t();
    for_groups([&](std::int64_t, const EdgeGroup& group) {
      const at::Tensor first = buffer(0), middle = buffer(1), last = buffer(2);
      const auto affine = affine_of<R>(passes.normalisers_[1]);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        at::Tensor z2 = middle.narrow(0, 0, rows(piece)), z3 = last.narrow(0, 0, rows(piece));
        at::mm_out(z2, activate(0, piece, {}, first), second);
        apply_affine(data_of<S>(z2), writable<S>(z2), rows(piece), channels[1], affine, true);
        at::mm_out(z3, z2, third);
        average_piece(data_of<S>(z3), piece, mean);
      }
    });
  }

  /// Sums for the backward pass of the last batch norm.
  at::Tensor average_moments(const at::Tensor& gradient, const EdgeTensors& edges) const {
    const at::Tensor all = sums(2);
    for_groups([&](std::int64_t g, const EdgeGroup& group) {
      double* sum = sum_of(all, g);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        add_average_moments(
            data_of<S>(slice(edges.third, piece)), nodes(piece), piece.last_node - piece.first_node, plan.k,
            channels[2], affine_of<R>(passes.normalisers_[2]), data_of<R>(gradient), sum, sum + channels[2]);
      }
    });
    return add_groups(all);
  }

  /// weight_gradient += dz^T a, kept in the compute type.
  void add_weight_gradient(at::Tensor weight_gradient, const at::Tensor& dz,
                           const at::Tensor& activations) const {
    if constexpr (std::is_same_v<S, R>) {
      at::addmm_out(weight_gradient, weight_gradient, dz.t(), activations);
    } else {
      weight_gradient.add_(at::mm(dz.t(), activations));
    }
  }

  /// From the gradient of the mean to that of the second layer's activations, which is returned ([edges,
  /// C2]); adds up the third layer's weight gradient and the sums for the second batch norm.
  at::Tensor backward_third(const at::Tensor& gradient, const EdgeTensors& edges,
                            const Correction& correction, at::Tensor& weight_gradient,
                            at::Tensor& moments) const {
    const bool same_width = channels[1] == channels[2];
    const at::Tensor target = same_width ? edges.third : at::empty_like(edges.second);
    const Correction none = {at::zeros_like(correction.slope), at::zeros_like(correction.offset)};
    const at::Tensor weights =
        at::zeros({group_count(), channels[2], channels[1]}, weight_gradient.options());
    const at::Tensor all = sums(1);
    for_groups([&](std::int64_t g, const EdgeGroup& group) {
      const at::Tensor dz_buffer = buffer(2), activations = buffer(1);
      double* sum = sum_of(all, g);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        const at::Tensor dz = dz_buffer.narrow(0, 0, rows(piece));
        average_backward(data_of<S>(slice(edges.third, piece)), nodes(piece),
                         piece.last_node - piece.first_node, plan.k, channels[2],
                         affine_of<R>(passes.normalisers_[2]), data_of<R>(gradient),
                         affine_of<R>(piece.counted ? correction : none), writable<S>(dz));
        add_weight_gradient(weights.select(0, g), dz, activate(1, piece, edges, activations));
        at::Tensor out = slice(target, piece);
        at::mm_out(out, dz, passes.edge_weights_[2]);
        add_gradient_moments(data_of<S>(out), data_of<S>(slice(edges.second, piece)), rows(piece),
                             channels[1], affine_of<R>(passes.normalisers_[1]), true, sum, sum + channels[1]);
      }
    });
    weight_gradient = add_groups(weights);
    moments = add_groups(all);
    return target;
  }

  /// From the gradient of the second layer's activations to that of u and v in front of the first batch norm.
  void backward_second(const at::Tensor& gradient, const EdgeTensors& edges, const Correction& correction,
                       at::Tensor& weight_gradient, const at::Tensor& terms_gradient) const {
    const Correction none = {at::zeros_like(correction.slope), at::zeros_like(correction.offset)};
    const at::Tensor weights =
        at::zeros({group_count(), channels[1], channels[0]}, weight_gradient.options());
    for_groups([&](std::int64_t g, const EdgeGroup& group) {
      const at::Tensor dz_buffer = buffer(1), activations = buffer(0);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        const at::Tensor dz = dz_buffer.narrow(0, 0, rows(piece));
        normalise_backward(data_of<S>(slice(gradient, piece)), data_of<S>(slice(edges.second, piece)),
                           writable<S>(dz), rows(piece), channels[1], affine_of<R>(passes.normalisers_[1]),
                           true, affine_of<R>(piece.counted ? correction : none));
        at::Tensor first = activate(0, piece, edges, activations);
        add_weight_gradient(weights.select(0, g), dz, first);
        at::mm_out(first, dz, passes.edge_weights_[1]);
        add_edge_gradients(tile(piece), affine_of<R>(passes.normalisers_[0]), data_of<S>(first),
                           writable<R>(terms_gradient));
      }
    });
    weight_gradient = add_groups(weights);
  }

  /// The first batch norm's backward pass, edge by edge, on the gradients of u and v.
  void backward_first(const Correction& correction, const at::Tensor& terms_gradient) const {
    const at::Tensor no_shift = at::zeros_like(correction.offset);
    const Affine<R> scaling = {data_of<R>(passes.normalisers_[0].scale), data_of<R>(no_shift)};
    for_groups([&](std::int64_t, const EdgeGroup& group) {
      R* rows_of_group = writable<R>(terms_gradient) + group.first_point * 2 * channels[0];
      apply_affine(rows_of_group, rows_of_group, 2 * (group.last_point - group.first_point), channels[0],
                   scaling, false);
      for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
        const Affine<R> subtracted = {data_of<R>(correction.slope), data_of<R>(correction.offset)};
        if (piece.counted) subtract_from_gradients(tile(piece), subtracted, writable<R>(terms_gradient));
      }
    });
  }
};

template <class Call>
void EdgePasses::with_loops(Call&& call) const {
  if (edge_type_ == at::kDouble) return call(Loops<double>{*this});
  if (edge_type_ == at::kFloat) return call(Loops<float>{*this});
  call(Loops<Bf16>{*this});
}

EdgePasses::EdgePasses(const EdgePlan& plan, EdgeLayers layers, at::ScalarType edge_type)
    : plan_(plan), layers_(std::move(layers)), edge_type_(edge_type) {
  channels_ = {layers_.scales[0].size(0), layers_.scales[1].size(0), layers_.scales[2].size(0)};
  for (std::size_t layer = 1; layer < 3; ++layer)
    edge_weights_[layer] = layers_.weights[layer].detach().to(edge_type_);
}

void EdgePasses::set_statistics(std::size_t layer, const Statistics& statistics) {
  statistics_[layer] = statistics;
  normalisers_[layer] = make_normaliser(statistics, layers_.scales[layer], layers_.shifts[layer],
                                        /*relu=*/true, layers_.terms.scalar_type());
}

at::Tensor EdgePasses::first_moments() const {
  at::Tensor moments;
  with_loops([&](const auto& loops) { moments = loops.first_moments(); });
  return moments;  // an inert edge's row is zero and adds nothing
}

at::Tensor EdgePasses::inert_activation(std::size_t layer, const EdgeTensors& edges) const {
  const Normaliser& normaliser = normalisers_[layer];
  if (layer == 0) return at::relu(normaliser.shift).unsqueeze(0).to(edge_type_);
  return at::relu(edges.second_inert.mul(normaliser.scale).add(normaliser.shift)).to(edge_type_);
}

at::Tensor EdgePasses::forward_layer(std::size_t layer, EdgeTensors& edges) const {
  at::Tensor moments;
  with_loops([&](const auto& loops) { moments = loops.forward_layer(layer, edges); });
  if (plan_.inert_edges == 0) return moments;
  const at::Tensor row = at::mm(inert_activation(layer - 1, edges), edge_weights_[layer].t());
  (layer == 1 ? edges.second_inert : edges.third_inert) = row;
  const at::Tensor value = row[0].to(at::kDouble);
  return moments.add(at::stack({value, value.square()}), static_cast<double>(plan_.inert_edges));
}

at::Tensor EdgePasses::average(const EdgeTensors& edges) const {
  at::Tensor mean = at::zeros({plan_.sets * plan_.points, channels_[2]}, layers_.terms.scalar_type());
  with_loops([&](const auto& loops) { loops.average(edges, mean); });
  return mean;
}

at::Tensor EdgePasses::infer() const {
  at::Tensor mean = at::zeros({plan_.sets * plan_.points, channels_[2]}, layers_.terms.scalar_type());
  with_loops([&](const auto& loops) { loops.infer(mean); });
  return mean;
}

namespace {

/// The backward pass of the row that all inert edges share. Gradients are those of all of them together;
/// nothing comes from the mean, which leaves padding out, only from the statistics.
class InertBackward {
 public:
  explicit InertBackward(std::int64_t edges) : edges_(static_cast<double>(edges)) {}

  /// Gradient of the row `z` [1, C] in front of a batch norm, `g` [1, C] being that behind it.
  at::Tensor through_norm(const at::Tensor& g, const at::Tensor& z, const Normaliser& normaliser,
                          const Correction& correction) const {
    return normaliser.scale.mul(g).sub(correction.slope.mul(z).add(correction.offset), edges_);
  }
  /// `g` where the ReLU behind the normaliser lets it through.
  static at::Tensor through_relu(const at::Tensor& g, const at::Tensor& z, const Normaliser& normaliser) {
    return at::where(z.mul(normaliser.scale).add(normaliser.shift).gt(0), g, 0.0);
  }
  static void add_moments(at::Tensor& moments, const at::Tensor& g, const at::Tensor& z) {
    moments = moments.add(at::stack({g[0], g.mul(z)[0]}).to(at::kDouble));
  }

 private:
  double edges_;
};

}  // namespace

EdgeGradients EdgePasses::backward(const at::Tensor& gradient, EdgeTensors edges,
                                   StatisticsReducer* reducer) const {
  const at::ScalarType type = layers_.terms.scalar_type();
  const bool has_inert = plan_.inert_edges > 0;
  const InertBackward inert(plan_.inert_edges);
  const at::Tensor no_row = at::zeros({1, channels_[0]}, type);
  EdgeGradients out;
  out.terms = at::zeros_like(layers_.terms);
  for (std::size_t layer = 1; layer < 3; ++layer) out.weights[layer] = at::empty({0}, type);
  const auto finish_norm = [&](std::size_t layer, const at::Tensor& moments) {
    const NormGradients norm =
        norm_gradients(statistics_[layer], layers_.scales[layer], moments, reducer, type);
    out.scales[layer] = norm.weight;
    out.shifts[layer] = norm.bias;
    return norm.correction;
  };
  with_loops([&](const auto& loops) {
    const Correction third = finish_norm(2, loops.average_moments(gradient, edges));
    at::Tensor moments;
    const at::Tensor second_gradient = loops.backward_third(gradient, edges, third, out.weights[2], moments);
    at::Tensor z, g;
    if (has_inert) {
      const at::Tensor last = edges.third_inert.to(type);
      const at::Tensor dz = inert.through_norm(at::zeros_like(last), last, normalisers_[2], third);
      out.weights[2].add_(at::mm(dz.t(), inert_activation(1, edges).to(type)));
      z = edges.second_inert.to(type);
      g = inert.through_relu(at::mm(dz, layers_.weights[2]), z, normalisers_[1]);
      inert.add_moments(moments, g, z);
    }
    const Correction second = finish_norm(1, moments);
    loops.backward_second(second_gradient, edges, second, out.weights[1], out.terms);
    at::Tensor first_moments = terms_moments(out.terms);
    if (has_inert) {
      const at::Tensor dz = inert.through_norm(g, z, normalisers_[1], second);
      out.weights[1].add_(at::mm(dz.t(), inert_activation(0, edges).to(type)));
      const at::Tensor first = inert.through_relu(at::mm(dz, layers_.weights[1]), no_row, normalisers_[0]);
      inert.add_moments(first_moments, first, no_row);
    }
    loops.backward_first(finish_norm(0, first_moments), out.terms);
  });
  return out;
}

at::Tensor EdgePasses::terms_moments(const at::Tensor& gradient) const {
  // Sums over edges of g and g (u_i + v_j), from the sums of g that the points have collected.
  // Not from a row of the terms: a rank's share of a batch may have none.
  const at::Tensor none = at::zeros({layers_.terms.size(1)}, layers_.terms.options());
  const Normaliser identity = {none, none, /*relu=*/false};
  const at::Tensor sums = row_gradient_moments(gradient, layers_.terms, identity);
  const at::Tensor own = sums.narrow(1, 0, channels_[0]),
                   neighbours = sums.narrow(1, channels_[0], channels_[0]);
  return at::stack({own[0], own[1].add(neighbours[1])});
}

}  // namespace bunchtrain::ops::detail
