// SPDX-License-Identifier: Apache-2.0
#include "prepared_network.hpp"

#include <algorithm>
#include <utility>

namespace bunchtrain::infer::detail {
namespace {

/// (x W + b) * scale + shift, as one layer. `norm` is that of each `norm.scale.size()` columns.
FoldedLinear with_norm(FoldedLinear layer, const FoldedNorm& norm) {
  const std::size_t channels = norm.scale.size();
  for (std::size_t i = 0; i < layer.weight.size(); ++i) layer.weight[i] *= norm.scale[i % channels];
  for (std::size_t i = 0; i < layer.bias.size(); ++i) layer.bias[i] *= norm.scale[i % channels];
  for (std::size_t c = 0; c < channels; ++c) layer.bias[c] += norm.shift[c];
  return layer;
}

PreparedBlock prepare(const FoldedBlock& block) {
  FoldedLinear second = block.second, third = with_norm(block.third, block.last);
  third.relu = true;
  second.skips_zeros = third.skips_zeros = true;
  PreparedBlock prepared{
      .k = block.k,
      .terms = PackedLinear(with_norm(block.terms, block.first)),  // the shift goes to u alone
      .second = PackedLinear(second),
      .third = PackedLinear(third)};
  if (block.shortcut) prepared.shortcut = PackedLinear(*block.shortcut);
  return prepared;
}

}  // namespace

std::int64_t PreparedNetwork::widest() const noexcept {
  std::int64_t widest = 0, all = 0;
  for (const PreparedBlock& block : blocks) {
    widest = std::max(widest, block.third.out);
    all += block.third.out;
  }
  return fusion ? all : widest;
}

PreparedNetwork prepare(const FoldedNetwork& network) {
  PreparedNetwork prepared{.options = network.options,
                           .features = network.features,
                           .blocks = {},
                           .fusion = {},
                           .hidden = PackedLinear(network.hidden),
                           .output = PackedLinear(network.output),
                           .heads = {}};
  for (const FoldedBlock& block : network.blocks) prepared.blocks.push_back(prepare(block));
  if (network.fusion) prepared.fusion = PackedLinear(*network.fusion);
  for (const FoldedLinear& head : network.heads) prepared.heads.emplace_back(head);
  return prepared;
}

}  // namespace bunchtrain::infer::detail
