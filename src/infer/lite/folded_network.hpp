// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The numbers of a ParticleNet as inference uses them: batch norms folded, matrices transposed.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/models/particle_net_options.hpp"
#include "rows/cpu/affine.hpp"
#include "rows/cpu/row_products.hpp"

namespace bunchtrain::infer::detail {

/// A linear layer, with the batch norm behind it if there is one.
struct FoldedLinear {
  std::vector<float> weight;  ///< [in, out]
  std::vector<float> bias;    ///< [out]
  std::int64_t in = 0, out = 0;
  bool relu = false;

  ops::detail::RowProduct product() const noexcept {
    return {.weight = weight.data(), .bias = bias.data(), .in = in, .out = out, .relu = relu};
  }
};

/// A batch norm that is not folded: y = x * scale + shift.
struct FoldedNorm {
  std::vector<float> scale, shift;

  ops::detail::Affine<float> affine() const noexcept { return {scale.data(), shift.data()}; }
};

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

  std::int64_t widest() const noexcept;  ///< channels of a block's output, all together if they are fused
};

/// @throws CheckpointError naming the tensor that is missing, of another shape or type, not finite, or left over.
FoldedNetwork read_folded_network(const models::ParticleNetOptions& options,
                                  const std::filesystem::path& weights);

}  // namespace bunchtrain::infer::detail
