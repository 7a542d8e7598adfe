// SPDX-License-Identifier: Apache-2.0
#include "fused_passes.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <type_traits>

#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/ops/index_faults.hpp"
#include "index_fault_kinds.hpp"
#include "inert_edges.hpp"
#include "node_lists.hpp"
#include "rows/cuda/row_launch.hpp"

namespace bunchtrain::ops::detail {
namespace {

cudaStream_t stream_of(c10::Device device) {
  return static_cast<cudaStream_t>(device::current_stream(device));
}

template <class T>
const T* data_of(const at::Tensor& x) {
  return x.defined() ? static_cast<const T*>(x.const_data_ptr()) : nullptr;
}
template <class T>
T* writable(const at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.mutable_data_ptr()) : nullptr;
}

/// Kernels read 16 bytes at once.
at::Tensor aligned(const at::Tensor& x) {
  const at::Tensor dense = x.detach().contiguous();
  return reinterpret_cast<std::uintptr_t>(dense.const_data_ptr()) % 16 == 0 ? dense : dense.clone();
}

/// [rows, parts] of numbers each with zeros behind it up to a multiple of 4: x [rows, parts * channels] itself if that is
/// nothing.
at::Tensor padded_to_packs(const at::Tensor& x, std::int64_t parts) {
  const std::int64_t channels = x.size(1) / parts, part = (channels + 3) / 4 * 4;
  if (part == channels) return aligned(x);
  const at::Tensor padded = at::zeros({x.size(0), parts * part}, x.options());
  padded.view({-1, parts, part}).narrow(2, 0, channels).copy_(x.detach().reshape({-1, parts, channels}));
  return padded;
}

EdgeCorrection correction_of(const Correction& correction) {
  return {data_of<float>(correction.slope), data_of<float>(correction.offset)};
}

}  // namespace

EdgeNodes FusedNodes::view() const {
  return {data_of<std::int32_t>(nodes), data_of<std::int32_t>(first_node), data_of<std::int32_t>(indices),
          static_cast<int>(sets),       static_cast<int>(points),          static_cast<int>(neighbours)};
}

FusedNodes list_nodes(const at::Tensor& indices, const Padding& padding) {
  const at::Tensor given = indices.contiguous(), mask = padding.mask.contiguous();
  const at::TensorOptions options = given.options();
  FusedNodes nodes = {.sets = given.size(0), .points = given.size(1), .neighbours = given.size(2)};
  nodes.nodes = at::empty({nodes.all_points()}, options);
  nodes.first_node = at::empty({nodes.sets + 1}, options);
  nodes.indices = at::empty_like(given);
  const at::Tensor inert_edges = at::empty({}, options.dtype(at::kDouble));
  if (padding.zeroed && padding.counted) nodes.inert_edges = inert_edges;
  launch_list_nodes({.mask = mask.const_data_ptr<bool>(),
                     .indices = data_of<std::int32_t>(given),
                     .sets = static_cast<int>(nodes.sets),
                     .points = static_cast<int>(nodes.points),
                     .neighbours = static_cast<int>(nodes.neighbours),
                     .zeroed = padding.zeroed,
                     .counted = padding.counted},
                    {.nodes = writable<std::int32_t>(nodes.nodes),
                     .first_node = writable<std::int32_t>(nodes.first_node),
                     .indices = writable<std::int32_t>(nodes.indices),
                     .inert_edges = writable<double>(inert_edges)},
                    index_faults(given.device()).mutable_data_ptr<std::int32_t>() + kSpreadFault,
                    stream_of(given.device()));
  return nodes;
}

template <class S>
FusedPasses<S>::FusedPasses(const FusedNodes& nodes, const EdgeLayers& layers)
    : nodes_(nodes), view_(nodes.view()), layers_(layers), stream_(stream_of(layers.terms.device())) {
  layers_.terms = aligned(layers_.terms);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    channels_[layer] = static_cast<int>(layers_.scales[layer].size(0));
    if (layer > 0) layers_.weights[layer] = aligned(layers_.weights[layer]);
  }
  width_ = fused_width(std::ranges::max(channels_));
}

template <class S>
FusedPasses<S>::FusedPasses(const FusedNodes& nodes, const EdgeLayers& layers, const TrainingCut& cut)
    : FusedPasses(nodes, layers) {
  padded_terms_ = padded_to_packs(layers_.terms, 2);
  cut_ = cut;
}

template <class S>
PassCut FusedPasses<S>::cut(EdgePass pass) const {
  const bool by_sets = pass == EdgePass::second_backward;
  const std::int64_t units = by_sets ? nodes_.sets : (nodes_.all_points() + kTileNodes - 1) / kTileNodes;
  const int most = by_sets ? most_set_blocks(width_, cut_.most_blocks)
                           : most_tile_blocks(sizeof(S), width_, cut_.most_blocks);
  return {width_, static_cast<int>(std::min<std::int64_t>(units, most)), cut_.tiles.of(pass)};
}

template <class S>
EdgeAffine FusedPasses<S>::affine(std::size_t layer) const {
  return {data_of<float>(norms_[layer].normaliser.scale), data_of<float>(norms_[layer].normaliser.shift)};
}

template <class S>
EdgeProduct FusedPasses<S>::product(std::size_t layer) const {
  return {data_of<float>(layers_.weights[layer]), channels_[layer - 1], channels_[layer]};
}

template <class S>
FirstRows FusedPasses<S>::first_rows() const {
  return {data_of<float>(padded_terms_), channels_[0], static_cast<int>(padded_terms_.size(1) / 2)};
}

template <class S>
at::Tensor FusedPasses<S>::edge_tensor() const {
  return at::empty({nodes_.all_points() * kEdgesOfNode, width_},
                   layers_.terms.options().dtype(std::is_same_v<S, Bf16> ? at::kBFloat16 : at::kFloat));
}

/// Rows of partial sums; the last one is that of the inert edges.
template <class S>
at::Tensor FusedPasses<S>::empty_sums(std::int64_t blocks, std::size_t layer, bool with_inert) const {
  return at::empty(
      {blocks + (with_inert && nodes_.inert_edges.defined() ? 1 : 0), partial_columns(channels_[layer])},
      layers_.terms.options().dtype(at::kDouble));
}

template <class S>
double* FusedPasses<S>::inert_sums(const at::Tensor& sums) const {
  return sums.defined() ? writable<double>(sums) + (sums.size(0) - 1) * sums.size(1) : nullptr;
}

template <class S>
at::Tensor FusedPasses<S>::first_sums() const {
  const at::Tensor sums = empty_sums(node_blocks(view_), 0, true);
  launch_first_moments(view_, first_rows(), writable<double>(sums), stream_);
  if (nodes_.inert_edges.defined())
    launch_inert_first(data_of<double>(nodes_.inert_edges), channels_[0], inert_sums(sums), stream_);
  return sums;
}

template <class S>
void FusedPasses<S>::forward_inert(std::size_t layer, EdgeTensors& edges, const at::Tensor& sums) const {
  at::Tensor& out = layer == 1 ? edges.second_inert : edges.third_inert;
  out = at::empty({1, channels_[layer]}, edges.second.options());
  launch_inert_layer<S>(
      {.in = layer == 1 ? nullptr : data_of<S>(edges.second_inert), .out = writable<S>(out)},
      affine(layer - 1), product(layer), data_of<double>(nodes_.inert_edges), inert_sums(sums), stream_);
}

template <class S>
at::Tensor FusedPasses<S>::forward_layer(std::size_t layer, EdgeTensors& edges, bool with_sums) const {
  const PassCut cut = this->cut(layer == 1 ? EdgePass::second_layer : EdgePass::third_layer);
  const at::Tensor sums = with_sums ? empty_sums(cut.blocks, layer, true) : at::Tensor();
  (layer == 1 ? edges.second : edges.third) = edge_tensor();
  if (layer == 1) {
    launch_second_layer<S>(view_, first_rows(), affine(0), product(1), cut, writable<S>(edges.second),
                           writable<double>(sums), stream_);
  } else {
    launch_third_layer<S>(view_, data_of<S>(edges.second), affine(1), product(2), cut,
                          writable<S>(edges.third), writable<double>(sums), stream_);
  }
  if (nodes_.inert_edges.defined()) forward_inert(layer, edges, sums);
  return sums;
}

template <class S>
at::Tensor FusedPasses<S>::average(const EdgeTensors& edges, PassedTensors* passed) const {
  const at::TensorOptions options = layers_.terms.options();
  const at::Tensor mean = at::zeros({nodes_.all_points(), channels_[2]}, options);
  if (passed) *passed = {at::empty(mean.sizes(), options.dtype(at::kByte)), at::empty(mean.sizes(), options)};
  const PassedEdges view =
      passed ? PassedEdges{writable<std::uint8_t>(passed->count), writable<float>(passed->sum)}
             : PassedEdges{};
  launch_mean<S>(view_, data_of<S>(edges.third), affine(2), channels_[2], width_, writable<float>(mean), view,
                 stream_);
  return mean;
}

/// [width, width] of S.
template <class S>
at::Tensor FusedPasses<S>::padded_weight(std::size_t layer) const {
  const at::Tensor& weight = layers_.weights[layer];
  const at::ScalarType type = std::is_same_v<S, Bf16> ? at::kBFloat16 : at::kFloat;
  if (channels_[layer] == width_ && channels_[layer - 1] == width_) return weight.to(type);
  const at::Tensor padded = at::zeros({width_, width_}, weight.options().dtype(type));
  padded.narrow(0, 0, channels_[layer]).narrow(1, 0, channels_[layer - 1]).copy_(weight);
  return padded;
}

template <class S>
at::Tensor FusedPasses<S>::evaluate(int tile_nodes, const EvaluatedShortcut* shortcut) const {
  const at::Tensor out =
      at::zeros({nodes_.all_points(), channels_[2]}, layers_.terms.options().dtype(at::kFloat));
  const at::Tensor second = padded_weight(1), third = padded_weight(2);
  EdgeEvaluation<S> evaluation = {.rows = data_of<S>(layers_.terms),
                                  .row_size = static_cast<int>(layers_.terms.size(1)),
                                  .affines = {affine(0), affine(1), affine(2)},
                                  .weights = {data_of<S>(second), data_of<S>(third)},
                                  .channels = {channels_[0], channels_[1], channels_[2]},
                                  .width = width_,
                                  .tile_nodes = tile_nodes,
                                  .whole = shortcut != nullptr,
                                  .shortcut = {},
                                  .out = writable<float>(out)};
  if (shortcut) {
    const Normaliser& norm = shortcut->norm.normaliser;
    evaluation.shortcut = {data_of<float>(shortcut->features),
                           {data_of<float>(norm.scale), data_of<float>(norm.shift)},
                           data_of<bool>(shortcut->mask)};
  }
  launch_evaluation<S>(view_, evaluation, stream_);
  return out;
}

/// What goes from one pass of backward to the next.
template <class S>
struct FusedPasses<S>::Gradients {
  const at::Tensor& mean;
  const EdgeTensors& edges;
  StatisticsReducer* reducer;
  std::array<Correction, 3> corrections = {};
  at::Tensor second = {}, second_inert = {};  ///< behind the second batch norm, as the edges
  at::Tensor outgoing = {}, incoming = {};    ///< behind the first one, summed by point
  EdgeGradients out = {};
};

template <class S>
void FusedPasses<S>::finish_norm(Gradients& g, std::size_t layer, const at::Tensor& sums) const {
  const NormGradients norm =
      row_norm_gradients_of_partials(norms_[layer].statistics, layers_.scales[layer], sums, g.reducer);
  g.out.scales[layer] = norm.weight;
  g.out.shifts[layer] = norm.bias;
  g.corrections[layer] = norm.correction;
}

template <class S>
void FusedPasses<S>::sum_weights(Gradients& g, std::size_t layer, const at::Tensor& partials) const {
  g.out.weights[layer] = at::empty_like(layers_.weights[layer]);
  launch_sum_weights(data_of<float>(partials), static_cast<int>(partials.size(0)), width_, product(layer),
                     writable<float>(g.out.weights[layer]), stream_);
}

template <class S>
void FusedPasses<S>::third_backward(Gradients& g) const {
  const PassCut cut = this->cut(EdgePass::third_backward);
  const at::Tensor sums = empty_sums(cut.blocks, 1, true);
  const at::Tensor weights = at::empty({cut.blocks, width_, width_}, layers_.terms.options());
  const at::Tensor gradient = padded_to_packs(g.mean, 1);
  g.second = edge_tensor();
  launch_third_backward<S>(view_,
                           {.gradient = data_of<float>(gradient),
                            .gradient_size = static_cast<int>(gradient.size(1)),
                            .y2 = data_of<S>(g.edges.second),
                            .y3 = data_of<S>(g.edges.third),
                            .second = affine(1),
                            .third = affine(2),
                            .correction = correction_of(g.corrections[2]),
                            .product = product(2),
                            .cut = cut,
                            .g2 = writable<S>(g.second),
                            .partials = writable<double>(sums),
                            .weight_partials = writable<float>(weights)},
                           stream_);
  sum_weights(g, 2, weights);
  if (nodes_.inert_edges.defined()) {
    g.second_inert = at::empty_like(g.edges.second_inert);
    launch_inert_backward<S>({.gradient = nullptr,
                              .y = data_of<S>(g.edges.third_inert),
                              .before = data_of<S>(g.edges.second_inert),
                              .affine = affine(2),
                              .affine_before = affine(1),
                              .correction = correction_of(g.corrections[2]),
                              .product = product(2),
                              .gradient_before = writable<S>(g.second_inert),
                              .weight_gradient = writable<float>(g.out.weights[2]),
                              .partials = inert_sums(sums)},
                             data_of<double>(nodes_.inert_edges), stream_);
  }
  finish_norm(g, 1, sums);
}

template <class S>
void FusedPasses<S>::second_backward(Gradients& g) const {
  const PassCut cut = this->cut(EdgePass::second_backward);
  const at::TensorOptions options = layers_.terms.options();
  const at::Tensor weights = at::empty({cut.blocks, width_, width_}, options);
  g.outgoing = at::empty({nodes_.all_points(), channels_[0]}, options);
  g.incoming = at::empty_like(g.outgoing);
  launch_second_backward<S>(view_,
                            {.first = first_rows(),
                             .g2 = data_of<S>(g.second),
                             .y2 = data_of<S>(g.edges.second),
                             .first_affine = affine(0),
                             .second = affine(1),
                             .correction = correction_of(g.corrections[1]),
                             .product = product(1),
                             .cut = cut,
                             .outgoing = writable<float>(g.outgoing),
                             .incoming = writable<float>(g.incoming),
                             .weight_partials = writable<float>(weights)},
                            stream_);
  sum_weights(g, 1, weights);
}

template <class S>
void FusedPasses<S>::first_backward(Gradients& g) const {
  const at::Tensor sums = empty_sums(node_blocks(view_), 0, true);
  launch_terms_moments(view_, first_rows(), data_of<float>(g.outgoing), data_of<float>(g.incoming),
                       writable<double>(sums), stream_);
  if (nodes_.inert_edges.defined()) {
    launch_inert_backward<S>({.gradient = data_of<S>(g.second_inert),
                              .y = data_of<S>(g.edges.second_inert),
                              .before = nullptr,
                              .affine = affine(1),
                              .affine_before = affine(0),
                              .correction = correction_of(g.corrections[1]),
                              .product = product(1),
                              .gradient_before = nullptr,
                              .weight_gradient = writable<float>(g.out.weights[1]),
                              .partials = inert_sums(sums)},
                             data_of<double>(nodes_.inert_edges), stream_);
  }
  finish_norm(g, 0, sums);
  g.out.terms = at::empty_like(layers_.terms);
  launch_first_backward(view_,
                        {.first = first_rows(),
                         .outgoing = data_of<float>(g.outgoing),
                         .incoming = data_of<float>(g.incoming),
                         .scale = affine(0).scale,
                         .correction = correction_of(g.corrections[0]),
                         .gradient = writable<float>(g.out.terms)},
                        stream_);
}

template <class S>
EdgeGradients FusedPasses<S>::backward(const at::Tensor& gradient, const EdgeTensors& edges,
                                       const PassedTensors& passed, StatisticsReducer* reducer) const {
  const at::Tensor mean_gradient = aligned(gradient);
  Gradients g{.mean = mean_gradient, .edges = edges, .reducer = reducer};
  const at::Tensor sums = empty_sums(node_blocks(view_), 2, false);
  launch_mean_moments(view_, {writable<std::uint8_t>(passed.count), writable<float>(passed.sum)},
                      data_of<float>(mean_gradient), channels_[2], writable<double>(sums), stream_);
  finish_norm(g, 2, sums);
  third_backward(g);
  second_backward(g);
  first_backward(g);
  return g.out;
}

template class FusedPasses<float>;
template class FusedPasses<ExactFloat>;
template class FusedPasses<Bf16>;

}  // namespace bunchtrain::ops::detail
