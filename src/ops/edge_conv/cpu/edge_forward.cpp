// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/stack.h>

#include "edge_loops.hpp"
#include "edge_product.hpp"

namespace bunchtrain::ops::detail {

template <class S>
at::Tensor EdgePasses::Loops<S>::first_moments() const {
  const at::Tensor all = sums(0);
  for_groups([&](std::int64_t g, const EdgeGroup& group) {
    double* sum = sum_of(all, g);
    for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
      if (piece.counted) add_edge_moments(tile(piece), sum, sum + channels[0]);
    }
  });
  return add_groups(all);
}

template <class S>
at::Tensor EdgePasses::Loops<S>::forward_layer(std::size_t layer, EdgeTensors& edges) const {
  at::Tensor& target = layer == 1 ? edges.second : edges.third;
  target = at::empty({plan.edges(), channels[layer]}, passes.edge_type_);
  const EdgeProduct<S> product(passes.edge_weights_[layer].t());
  const at::Tensor all = sums(layer);
  for_groups([&](std::int64_t g, const EdgeGroup& group) {
    const at::Tensor activations = buffer(layer - 1);
    double* sum = sum_of(all, g);
    for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
      const at::Tensor out = slice(target, piece);
      product.multiply(activate(layer - 1, piece, edges, activations), out);
      if (piece.counted)
        add_moments(data_of<S>(out), rows(piece), channels[layer], sum, sum + channels[layer]);
    }
  });
  return add_groups(all);
}

template <class S>
void EdgePasses::Loops<S>::average_piece(const S* edges, const EdgePiece& piece,
                                         const at::Tensor& mean) const {
  average_edges(edges, nodes(piece), piece.last_node - piece.first_node, plan.k, channels[2],
                affine_of<R>(passes.normalisers_[2]), writable<R>(mean));
}

template <class S>
void EdgePasses::Loops<S>::average(const EdgeTensors& edges, const at::Tensor& mean,
                                   const PassedTensors* passed) const {
  for_groups([&](std::int64_t, const EdgeGroup& group) {
    for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
      const S* third = data_of<S>(slice(edges.third, piece));
      if (!passed)
        average_piece(third, piece, mean);
      else
        average_edges(third, nodes(piece), piece.last_node - piece.first_node, plan.k, channels[2],
                      affine_of<R>(passes.normalisers_[2]), writable<R>(mean), sums_of(*passed));
    }
  });
}

template <class S>
void EdgePasses::Loops<S>::infer(const at::Tensor& mean) const {
  const EdgeProduct<S> second(passes.edge_weights_[1].t()), third(passes.edge_weights_[2].t());
  for_groups([&](std::int64_t, const EdgeGroup& group) {
    const at::Tensor first = buffer(0), middle = buffer(1), last = buffer(2);
    const auto affine = affine_of<R>(passes.normalisers_[1]);
    for (const EdgePiece& piece : plan.pieces(group, piece_nodes)) {
      const at::Tensor z2 = middle.narrow(0, 0, rows(piece)), z3 = last.narrow(0, 0, rows(piece));
      second.multiply(activate(0, piece, {}, first), z2);
      apply_affine(data_of<S>(z2), writable<S>(z2), rows(piece), channels[1], affine, Activation::relu);
      third.multiply(z2, z3);
      average_piece(data_of<S>(z3), piece, mean);
    }
  });
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

at::Tensor EdgePasses::average(const EdgeTensors& edges, PassedTensors* passed) const {
  at::Tensor mean = at::zeros({plan_.sets * plan_.points, channels_[2]}, layers_.terms.scalar_type());
  if (passed) *passed = {at::empty_like(mean), at::empty_like(mean)};
  with_loops([&](const auto& loops) { loops.average(edges, mean, passed); });
  return mean;
}

at::Tensor EdgePasses::infer() const {
  at::Tensor mean = at::zeros({plan_.sets * plan_.points, channels_[2]}, layers_.terms.scalar_type());
  with_loops([&](const auto& loops) { loops.infer(mean); });
  return mean;
}

}  // namespace bunchtrain::ops::detail
