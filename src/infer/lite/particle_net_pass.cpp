// SPDX-License-Identifier: Apache-2.0
#include "particle_net_pass.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "edge_conv/cpu/edge_simd.hpp"
#include "rows/cpu/row_kernels.hpp"

namespace bunchtrain::infer::detail {
namespace {

constexpr std::int64_t kPieceBytes = 256 * 1024;  ///< of a piece's widest edge rows: they stay in the cache
constexpr float kLeastWidth = 1e-3F;              ///< of an estimate, as models::ParticleNet has it

void reserve(ops::detail::AlignedFloats& values, std::int64_t count) {
  values.resize(static_cast<std::size_t>(count));
}

float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

std::int64_t widest_edge(const PreparedBlock& block) { return std::max(block.second.in, block.second.out); }

}  // namespace

ParticleNetPass::ParticleNetPass(const PreparedNetwork& network, std::int64_t slots, std::int64_t dims)
    : network_(network) {
  const std::int64_t rows = slots + 1;
  std::int64_t k = 0, terms = 0, channels = std::max(network.options.num_features, dims), edge_values = 0;
  for (const PreparedBlock& block : network.blocks) {
    k = std::max(k, block.k);
    terms = std::max(terms, block.terms.out);
    channels = std::max(channels, block.third.out);
    edge_values = std::max(edge_values, block.k * widest_edge(block));
  }
  piece_points_ =
      std::max<std::int64_t>(1, kPieceBytes / (edge_values * static_cast<std::int64_t>(sizeof(float))));
  piece_points_ = std::min(piece_points_, rows);
  const std::int64_t pooled = network.hidden.in;
  for (auto* buffer : {&x_, &next_}) reserve(*buffer, rows * std::max(channels, pooled));  // they are swapped
  for (auto* buffer : {&mean_, &shortcut_}) reserve(*buffer, rows * channels);
  reserve(terms_, rows * terms);
  for (auto* buffer : {&first_, &second_}) reserve(*buffer, piece_points_ * edge_values);
  if (network.fusion) reserve(all_, rows * network.widest());
  reserve(pooled_, pooled);
  reserve(hidden_, network.hidden.out);
  reserve(head_, 2);
  nodes_.resize(static_cast<std::size_t>(rows));
  std::iota(nodes_.begin(), nodes_.end(), 0);
  found_.resize(static_cast<std::size_t>(rows * k));
  edges_.resize(static_cast<std::size_t>(rows * k));
  set_.real.reserve(static_cast<std::size_t>(slots));
}

std::size_t ParticleNetPass::bytes() const noexcept {
  std::size_t values = 0;
  for (const auto* buffer :
       {&x_, &next_, &terms_, &mean_, &shortcut_, &all_, &first_, &second_, &pooled_, &hidden_, &head_})
    values += buffer->size();
  return values * sizeof(float) + (nodes_.size() + found_.size() + edges_.size()) * sizeof(std::int32_t);
}

/// Neighbours of the particles, then those of the row that stands for padding.
void ParticleNetPass::find_neighbours(const PreparedBlock& block, const float* space, std::int64_t dims,
                                      const JetInputs& jet) {
  const std::int64_t particles = jet.particles, found = std::min(block.k, particles - 1);
  const bool enough = found == block.k;  // then they lie as they are wanted
  if (found > 0) {
    set_.points = space;
    set_.size = particles;
    set_.dims = dims;
    set_.real.assign(nodes_.begin(), nodes_.begin() + particles);
    ops::detail::find_neighbours(set_, {found, (enough ? edges_ : found_).data(), nullptr});
  }
  const auto padding = static_cast<std::int32_t>(particles);
  std::int32_t* edge = edges_.data();
  if (enough) edge += particles * block.k;
  for (std::int64_t i = 0; i < particles && !enough; ++i) {
    edge = std::copy_n(found_.data() + i * found, found, edge);
    edge = std::fill_n(edge, block.k - found, padding);
  }
  // Padded slots are nearest to each other, then to the first particles.
  const std::int64_t others = std::min(block.k, jet.slots - particles - 1);
  if (others < 0) return;
  edge = std::fill_n(edge, others, padding);
  std::copy_n(nodes_.begin(), block.k - others, edge);
}

/// `mean_` of the first `computed` of `rows` points.
void ParticleNetPass::average_edges(const PreparedBlock& block, std::int64_t rows, std::int64_t computed) {
  const ops::detail::EdgeShape shape{.points = rows, .neighbours = block.k, .channels = block.second.in};
  for (std::int64_t begin = 0; begin < computed; begin += piece_points_) {
    const std::int64_t points = std::min(piece_points_, computed - begin);
    ops::detail::activate_points(shape, begin, begin + points, terms_.data(), edges_.data(), first_.data());
    ops::detail::multiply_rows(block.second.product(), first_.data(), points * block.k, second_.data());
    ops::detail::average_products(block.third.product(), second_.data(), points, block.k,
                                  mean_.data() + begin * block.third.out);
  }
}

/// From `x_` to `x_`.
void ParticleNetPass::run_block(const PreparedBlock& block, const JetInputs& jet, std::int64_t rows) {
  const bool zeroed = network_.options.padding == models::PaddingRule::weaver;
  const std::int64_t computed = zeroed ? jet.particles : rows, channels = block.third.out;
  ops::detail::multiply_rows(block.terms.product(), x_.data(), rows, terms_.data());
  average_edges(block, rows, computed);
  const float* shortcut = x_.data();
  if (block.shortcut) {
    ops::detail::multiply_rows(block.shortcut->product(), x_.data(), computed, shortcut_.data());
    shortcut = shortcut_.data();
  }
  const float* __restrict mean = mean_.data();
  float* __restrict next = next_.data();
  for (std::int64_t i = 0; i < computed * channels; ++i) {
    const float sum = mean[i] + shortcut[i];
    next[i] = sum < 0 ? 0 : sum;
  }
  std::fill(next_.begin() + computed * channels, next_.begin() + rows * channels, 0.0F);
  x_.swap(next_);
}

/// Of the particles in `x_`: their mean, or by the rule of Keras their sum over all slots.
void ParticleNetPass::pool(const JetInputs& jet, std::int64_t channels) {
  std::fill(pooled_.begin(), pooled_.end(), 0.0F);
  const float* __restrict x = x_.data();
  float* __restrict pooled = pooled_.data();
  for (std::int64_t i = 0; i < jet.particles; ++i, x += channels)
    for (std::int64_t c = 0; c < channels; ++c) pooled[c] += x[c];
  const bool over_particles = network_.options.padding == models::PaddingRule::weaver;
  const auto count =
      static_cast<float>(over_particles ? std::max<std::int64_t>(jet.particles, 1) : jet.slots);
  for (float& value : pooled_) value /= count;
}

void ParticleNetPass::write_estimates(std::span<float> estimates) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < network_.heads.size(); ++i) {
    const models::RegressionHead& head = network_.options.heads[i];
    ops::detail::multiply_rows(network_.heads[i].product(), hidden_.data(), 1, head_.data());
    const auto width = static_cast<float>(head.width);
    estimates[next++] = head_[0] * width + static_cast<float>(head.mean);
    if (head.own_width) estimates[next++] = (softplus(head_[1]) + kLeastWidth) * width;
  }
}

void ParticleNetPass::run(const JetInputs& jet, std::span<float> logits, std::span<float> estimates) {
  const std::int64_t rows = jet.particles + (jet.particles < jet.slots ? 1 : 0);
  const std::int64_t features = network_.options.num_features;
  const bool zeroed = network_.options.padding == models::PaddingRule::weaver;
  ops::detail::apply_affine<float>(jet.features, x_.data(), jet.particles, features,
                                   network_.features.affine(), ops::detail::Activation::none);
  if (rows > jet.particles)
    for (std::int64_t c = 0; c < features; ++c)
      x_[static_cast<std::size_t>(jet.particles * features + c)] =
          zeroed ? 0.0F : network_.features.shift[static_cast<std::size_t>(c)];
  std::int64_t channels = features, written = 0;
  const std::int64_t all = network_.widest();
  for (std::size_t i = 0; i < network_.blocks.size() && jet.particles > 0; ++i) {
    const PreparedBlock& block = network_.blocks[i];
    find_neighbours(block, i == 0 ? jet.points : x_.data(), i == 0 ? jet.dims : channels, jet);
    run_block(block, jet, rows);
    channels = block.third.out;
    if (!network_.fusion) continue;
    for (std::int64_t p = 0; p < jet.particles; ++p)
      std::copy_n(x_.data() + p * channels, channels, all_.data() + p * all + written);
    written += channels;
  }
  if (network_.fusion) {
    ops::detail::multiply_rows(network_.fusion->product(), all_.data(), jet.particles, next_.data());
    x_.swap(next_);
  }
  pool(jet, network_.hidden.in);
  ops::detail::multiply_rows(network_.hidden.product(), pooled_.data(), 1, hidden_.data());
  ops::detail::multiply_rows(network_.output.product(), hidden_.data(), 1, logits.data());
  write_estimates(estimates);
}

}  // namespace bunchtrain::infer::detail
