// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block on a GPU by fused passes, and which calls they
/// take: the others go through operations, row by row.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/ops/edge_conv.hpp"

namespace bunchtrain::ops::detail {

/// What of a call decides.
struct FusedCall {
  std::int64_t sets = 0, points = 0, neighbours = 0;
  std::array<std::int64_t, 3> channels = {};
  at::ScalarType features = at::kFloat;
  at::ScalarType edges = at::kFloat;  ///< what autocast computes in; without it that of the features
  bool tf32 = false;                  ///< products of float32 may be rounded to it
  bool wanted = true;                 ///< EdgeConvLayers::fused
  bool fits = true;                   ///< shapes and devices; operations say what does not
  bool float_parameters = true;       ///< weights and norms are float32, norms dense
  bool counts_all_rows = true;        ///< false: padding that is computed though it does not count
};
FusedCall fused_call(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                     const EdgeConvLayers& layers);

/// Of edges and their products. @pre why_not_fused(call) is empty
device::Precision precision_of(const FusedCall& call);

/// What of a GPU decides.
struct FusedCard {
  int compute_capability = 0;     ///< 90 = 9.0
  std::int64_t shared_bytes = 0;  ///< of a block at most
};
/// @throws NotBuiltError in a build without CUDA
FusedCard fused_card(c10::Device device);

/// Why the passes do not take a call, as part of a sentence; empty if they do.
std::string why_not_fused(const FusedCall& call);
/// The same of a card. @param bytes of shared memory that the call asks for
std::string why_not_on(const FusedCard& card, std::int64_t bytes);

/// Shared memory that a call asks for in a block, forward and backward, with the card's tiles. @pre why_not_fused(call) is empty
/// @throws NotBuiltError in a build without CUDA
std::int64_t fused_bytes(const FusedCard& card, const FusedCall& call);

/// Whether nothing of a block asks for gradients or statistics of the batch, and its shortcut is of float32 and fits.
bool is_evaluated_block(const at::Tensor& features, const EdgeConvLayers& layers,
                        const EdgeConvShortcut& shortcut);

/// `evaluated_edge_conv` by fused passes; nothing if the card has too little shared memory for it. @pre is_evaluated_block, and
/// nothing stands against the edges
/// @throws NotBuiltError in a build without CUDA
std::optional<at::Tensor> block_by_fused_passes(const at::Tensor& features, const at::Tensor& indices,
                                                const Padding& padding, const EdgeConvLayers& layers,
                                                const EdgeConvShortcut& shortcut);

/// `edge_conv` by fused passes. @pre nothing stands against it
/// @throws NotBuiltError in a build without CUDA
at::Tensor mean_by_fused_passes(const at::Tensor& features, const at::Tensor& indices, const Padding& padding,
                                const EdgeConvLayers& layers);

}  // namespace bunchtrain::ops::detail
