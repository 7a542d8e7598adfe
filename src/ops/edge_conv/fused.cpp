// SPDX-License-Identifier: Apache-2.0
#include "fused.hpp"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "bunchtrain/ops/kernels.hpp"
#include "fused_limits.hpp"
#include "rows/batch_norm_statistics.hpp"

namespace bunchtrain::ops::detail {
namespace {

constexpr int kAmpere = 80;
constexpr std::int64_t kFloatBytes = 4;

/// Passes read and write whole tiles of 16 edges, about nine times; operations the edges alone, about forty times.
constexpr std::int64_t kMostPadding = 4;

bool shapes_fit(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                const EdgeConvLayers& layers) {
  if (features.dim() != 3 || !indices.defined() || indices.dim() != 3 || !padding.mask.defined())
    return false;
  const at::IntArrayRef points = features.sizes().slice(0, 2);
  bool fit = indices.scalar_type() == at::kInt && indices.sizes().slice(0, 2) == points &&
             padding.mask.scalar_type() == at::kBool && padding.mask.sizes() == points &&
             indices.device() == features.device() && padding.mask.device() == features.device();
  std::int64_t from = 2 * features.size(2);
  for (const at::Tensor& weight : layers.weights) {
    fit = fit && weight.dim() >= 2 && weight.size(1) == from && weight.numel() == weight.size(0) * from &&
          weight.device() == features.device();
    from = weight.size(0);
  }
  return fit;
}

bool has_tf32() {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
         at::Float32Precision::TF32;
}

std::string why_not_these_sizes(const FusedCall& call) {
  const auto [least, most] = std::ranges::minmax(call.channels);
  if (call.neighbours < 1 || call.neighbours > kEdgesOfNode)
    return fmt::format("{} neighbours; they take 1 to {}", call.neighbours, kEdgesOfNode);
  if (call.points > kMostFusedPoints || call.points <= call.neighbours)
    return fmt::format(
        "{} points per set with {} neighbours; they take more points than neighbours, and {} at most",
        call.points, call.neighbours, kMostFusedPoints);
  if (least < 1 || most > kWidestEdge)
    return fmt::format("layers of {} channels; they take {} at most", most, kWidestEdge);
  if (call.sets > std::numeric_limits<std::int32_t>::max() / call.points)
    return fmt::format("{} sets of {} points; they number points by 31 bits", call.sets, call.points);
  const std::int64_t numbers = call.neighbours * (call.channels[1] + call.channels[2]) / 2,
                     tile = kEdgesOfNode * fused_width(static_cast<int>(most));
  if (tile > kMostPadding * numbers)
    return fmt::format("{} neighbours and {} to {} channels; most of a tile of {} x {} would be padding",
                       call.neighbours, least, most, kEdgesOfNode, fused_width(static_cast<int>(most)));
  return {};
}

}  // namespace

FusedCall fused_call(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                     const EdgeConvLayers& layers) {
  FusedCall call{.wanted = layers.fused && kernels() == Kernels::automatic,
                 .fits = shapes_fit(features, indices, padding, layers)};
  if (!call.fits) return call;
  const c10::DeviceType device = features.device().type();
  call.sets = indices.size(0);
  call.points = indices.size(1);
  call.neighbours = indices.size(2);
  call.features = features.scalar_type();
  call.edges = at::autocast::is_autocast_enabled(device) ? at::autocast::get_autocast_dtype(device)
                                                         : features.scalar_type();
  call.tf32 = has_tf32();
  call.counts_all_rows = padding.counted || padding.zeroed;
  for (std::size_t layer = 0; layer < 3; ++layer) {
    call.channels[layer] = layers.weights[layer].size(0);
    call.float_parameters = call.float_parameters && layers.weights[layer].scalar_type() == at::kFloat &&
                            has_float_parameters(layers.norms[layer], features.device());
  }
  return call;
}

bool is_evaluated_block(const at::Tensor& features, const EdgeConvLayers& layers,
                        const EdgeConvShortcut& shortcut) {
  std::vector<at::Tensor> variables = {features, shortcut.weight};
  variables.insert(variables.end(), layers.weights.begin(), layers.weights.end());
  std::vector<const BatchNormTensors*> norms = {&layers.norms[0], &layers.norms[1], &layers.norms[2]};
  const at::Tensor& projection = shortcut.weight;
  if (projection.defined()) norms.push_back(&shortcut.norm);
  for (const BatchNormTensors* norm : norms) {
    if (norm->training) return false;
    variables.insert(variables.end(), {norm->weight, norm->bias});
  }
  const auto asks = [](const at::Tensor& variable) { return variable.defined() && variable.requires_grad(); };
  if (at::GradMode::is_enabled() && std::ranges::any_of(variables, asks)) return false;
  const std::int64_t from = features.size(-1), to = layers.weights[2].size(0);
  if (!projection.defined()) return from == to;
  return projection.scalar_type() == at::kFloat && projection.device() == features.device() &&
         projection.size(0) == to && projection.numel() == to * from &&
         has_float_parameters(shortcut.norm, features.device());
}

device::Precision precision_of(const FusedCall& call) {
  if (call.edges == at::kBFloat16) return device::Precision::bfloat16;
  return call.tf32 ? device::Precision::tf32 : device::Precision::float32;
}

std::string why_not_fused(const FusedCall& call) {
  if (!call.wanted) return "they were not asked for";
  if (!call.fits) return "shapes or devices do not fit together";
  if (call.features != at::kFloat || !call.float_parameters)
    return "points or parameters that are not float32; they take nothing else";
  if (call.edges != at::kFloat && call.edges != at::kBFloat16)
    return "edges of another type than bfloat16 or float32; they take nothing else";
  if (!call.counts_all_rows) return "padding that is not zero but left out of the statistics";
  return why_not_these_sizes(call);
}

std::string why_not_on(const FusedCard& card, std::int64_t bytes) {
  if (card.compute_capability < kAmpere)
    return fmt::format("compute capability {}.{}; they need 8.0 or later", card.compute_capability / 10,
                       card.compute_capability % 10);
  if (bytes > card.shared_bytes)
    return fmt::format("{} KB of shared memory in a block; they need {} for these layers",
                       card.shared_bytes / 1024, (bytes + 1023) / 1024);
  return {};
}

}  // namespace bunchtrain::ops::detail

namespace bunchtrain::ops {

FusedEdgeMemory fused_edge_memory(std::int64_t points, std::int64_t neighbours,
                                  const std::array<std::int64_t, 3>& channels, std::int64_t value_bytes) {
  using namespace detail;
  const std::int64_t width = fused_width(static_cast<int>(std::ranges::max(channels)));
  const std::int64_t edge_tensor = points * kEdgesOfNode * width * value_bytes;
  const std::int64_t terms = 2 * channels[0] * kFloatBytes;
  // Neighbours twice, as they were given and inside their sets; of the mean a count of 1 byte and a sum by channel.
  const std::int64_t of_point = terms + (2 * neighbours + 1) * kFloatBytes + channels[2] * (1 + kFloatBytes);
  const std::int64_t most = most_tile_blocks(static_cast<std::size_t>(value_bytes), static_cast<int>(width));
  const std::int64_t blocks = std::min(points * kEdgesOfNode / 64 + 1, most);
  // Terms and gradients, read by 16 bytes, are copied if their channels are no multiple of that.
  const auto copied = [](std::int64_t size) { return size % 4 == 0 ? 0 : (size + 3) / 4 * 4 * kFloatBytes; };
  return {.edges = 2 * edge_tensor,
          .points = points * of_point,
          .backward = edge_tensor + blocks * width * width * kFloatBytes +
                      points * (2 * terms + 2 * copied(channels[0]) + copied(channels[2]))};
}

}  // namespace bunchtrain::ops
