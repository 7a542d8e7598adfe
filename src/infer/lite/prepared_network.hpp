// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A ParticleNet in the order of the loops that run it: the one copy of its numbers.

#include <cstdint>
#include <optional>
#include <vector>

#include "bunchtrain/models/particle_net_options.hpp"
#include "folded_network.hpp"

namespace bunchtrain::infer::detail {

/// relu(mean over neighbours of relu(third(second(relu(u_i + v_j)))) + shortcut(x_i)): all norms are in the matrices.
struct PreparedBlock {
  std::int64_t k = 0;
  PackedLinear terms;  ///< [in, 2 C1]: u, then v
  PackedLinear second, third;
  std::optional<PackedLinear> shortcut = {};
};

/// Immutable, shared by passes.
struct PreparedNetwork {
  models::ParticleNetOptions options;
  FoldedNorm features;
  std::vector<PreparedBlock> blocks;
  std::optional<PackedLinear> fusion;
  PackedLinear hidden, output;
  std::vector<PackedLinear> heads;

  std::int64_t widest() const noexcept;  ///< channels of a block's output, all together if they are fused
};

PreparedNetwork prepare(const FoldedNetwork& network);

}  // namespace bunchtrain::infer::detail
