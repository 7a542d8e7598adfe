// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "edge_loops.hpp"
#include "edge_product.hpp"

namespace bunchtrain::ops::detail {

template <class S>
at::Tensor EdgePasses::Loops<S>::average_moments(const at::Tensor& gradient,
                                                 const PassedTensors& passed) const {
  const at::Tensor all = sums(2);
  for_groups([&](std::int64_t g, const EdgeGroup& group) {
    double* sum = sum_of(all, g);
    add_passed_moments(plan.nodes.data() + group.first_node, group.last_node - group.first_node, plan.k,
                       channels[2], sums_of(passed), data_of<R>(gradient), sum, sum + channels[2]);
  });
  return add_groups(all);
}

template <class S>
at::Tensor EdgePasses::Loops<S>::backward_third(const at::Tensor& gradient, const EdgeTensors& edges,
                                                const Correction& correction, at::Tensor& weight_gradient,
                                                at::Tensor& moments) const {
  const bool same_width = channels[1] == channels[2];
  const at::Tensor target = same_width ? edges.third : at::empty_like(edges.second);
  const Correction none = {at::zeros_like(correction.slope), at::zeros_like(correction.offset)};
  const EdgeProduct<S> product(passes.edge_weights_[2]);
  const at::Tensor weights = at::zeros({group_count(), channels[2], channels[1]}, weight_gradient.options());
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
      add_weight_gradient<S>(weights.select(0, g), dz, activate(1, piece, edges, activations));
      const at::Tensor out = slice(target, piece);
      product.multiply(dz, out);
      add_gradient_moments(data_of<S>(out), data_of<S>(slice(edges.second, piece)), rows(piece), channels[1],
                           affine_of<R>(passes.normalisers_[1]), Activation::relu, sum, sum + channels[1]);
    }
  });
  weight_gradient = add_groups(weights);
  moments = add_groups(all);
  return target;
}

template <class S>
void EdgePasses::Loops<S>::backward_second(const at::Tensor& gradient, const EdgeTensors& edges,
                                           const Correction& correction, at::Tensor& weight_gradient,
                                           const at::Tensor& terms_gradient) const {
  const Correction none = {at::zeros_like(correction.slope), at::zeros_like(correction.offset)};
  const EdgeProduct<S> product(passes.edge_weights_[1]);
  const at::Tensor weights = at::zeros({group_count(), channels[1], channels[0]}, weight_gradient.options());
  for_groups([&](std::int64_t g, const EdgeGroup& group) {
    const at::Tensor dz_buffer = buffer(1), activations = buffer(0);
    for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
      const at::Tensor dz = dz_buffer.narrow(0, 0, rows(piece));
      normalise_backward(data_of<S>(slice(gradient, piece)), data_of<S>(slice(edges.second, piece)),
                         writable<S>(dz), rows(piece), channels[1], affine_of<R>(passes.normalisers_[1]),
                         Activation::relu, affine_of<R>(piece.counted ? correction : none));
      const at::Tensor first = activate(0, piece, edges, activations);
      add_weight_gradient<S>(weights.select(0, g), dz, first);
      product.multiply(dz, first);
      add_edge_gradients(tile(piece), affine_of<R>(passes.normalisers_[0]), data_of<S>(first),
                         writable<R>(terms_gradient));
    }
  });
  weight_gradient = add_groups(weights);
}

template <class S>
void EdgePasses::Loops<S>::backward_first(const Correction& correction,
                                          const at::Tensor& terms_gradient) const {
  const at::Tensor no_shift = at::zeros_like(correction.offset);
  const Affine<R> scaling = {data_of<R>(passes.normalisers_[0].scale), data_of<R>(no_shift)};
  for_groups([&](std::int64_t, const EdgeGroup& group) {
    R* rows_of_group = writable<R>(terms_gradient) + group.first_point * 2 * channels[0];
    apply_affine(rows_of_group, rows_of_group, 2 * (group.last_point - group.first_point), channels[0],
                 scaling, Activation::none);
    for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
      const Affine<R> subtracted = {data_of<R>(correction.slope), data_of<R>(correction.offset)};
      if (piece.counted) subtract_from_gradients(tile(piece), subtracted, writable<R>(terms_gradient));
    }
  });
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

EdgeGradients EdgePasses::backward(const at::Tensor& gradient, EdgeTensors edges, const PassedTensors& passed,
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
    const Correction third = finish_norm(2, loops.average_moments(gradient, passed));
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
