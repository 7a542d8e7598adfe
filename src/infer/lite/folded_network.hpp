// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The numbers of a ParticleNet as inference uses them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "bunchtrain/models/particle_net_options.hpp"
#include "folded_layers.hpp"

namespace bunchtrain::infer::detail {

/// An EdgeConv block: relu(mean over neighbours of third(second(first(u_i + v_j))) + shortcut(x_i)).
struct FoldedBlock {
  std::int64_t k = 0;
  FoldedLinear terms;  ///< [in, 2 C1]: u, then v, in front of `first`
  FoldedNorm first;
  FoldedLinear second, third;  ///< the third in front of `last`
  FoldedNorm last;
  std::optional<FoldedLinear> shortcut = {};
};

struct FoldedNetwork {
  models::ParticleNetOptions options;
  FoldedNorm features;
  std::vector<FoldedBlock> blocks;
  std::optional<FoldedLinear> fusion;
  FoldedLinear hidden, output;
  std::vector<FoldedLinear> heads;
};

/// @throws CheckpointError naming the tensor that is missing, of another shape or type, not finite, or left over.
FoldedNetwork read_folded_network(const models::ParticleNetOptions& options,
                                  const std::filesystem::path& weights);

}  // namespace bunchtrain::infer::detail
