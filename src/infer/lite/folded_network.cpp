// SPDX-License-Identifier: Apache-2.0
#include "folded_network.hpp"

#include <fmt/format.h>

namespace bunchtrain::infer::detail {
namespace {

FoldedLinear read_normed(WeightReader& reader, const std::string& weight, const std::string& norm_name,
                         std::int64_t in, std::int64_t out, bool relu) {
  FoldedLinear linear = transposed(reader.take(weight, {out, in}), in, out);
  const FoldedNorm norm = read_norm(reader, norm_name, out);
  for (std::size_t i = 0; i < linear.weight.size(); ++i)
    linear.weight[i] *= norm.scale[i % static_cast<std::size_t>(out)];
  linear.bias = norm.shift;
  linear.relu = relu;
  return linear;
}

/// W [x_i ; x_j - x_i] = (W_a - W_b) x_i + W_b x_j.
FoldedLinear read_terms(WeightReader& reader, const std::string& name, std::int64_t in, std::int64_t out) {
  const auto weight = reader.take(name, {out, 2 * in});
  FoldedLinear terms{.weight = std::vector<float>(static_cast<std::size_t>(2 * in * out)),
                     .bias = std::vector<float>(static_cast<std::size_t>(2 * out), 0.0F),
                     .in = in,
                     .out = 2 * out};
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i) {
      const float to_self = weight[static_cast<std::size_t>(o * 2 * in + i)],
                  to_neighbour = weight[static_cast<std::size_t>(o * 2 * in + in + i)];
      terms.weight[static_cast<std::size_t>(i * 2 * out + o)] = to_self - to_neighbour;
      terms.weight[static_cast<std::size_t>(i * 2 * out + out + o)] = to_neighbour;
    }
  return terms;
}

FoldedBlock read_block(WeightReader& reader, const std::string& name, const models::EdgeConvSpec& spec,
                       std::int64_t in) {
  const auto [first, second, third] = spec.channels;
  FoldedBlock block{
      .k = spec.k,
      .terms = read_terms(reader, name + ".convs.0.weight", in, first),
      .first = read_norm(reader, name + ".bns.0", first),
      .second = read_normed(reader, name + ".convs.1.weight", name + ".bns.1", first, second, true),
      .third = transposed(reader.take(name + ".convs.2.weight", {third, second}), second, third),
      .last = read_norm(reader, name + ".bns.2", third)};
  if (in != third)
    block.shortcut = read_normed(reader, name + ".sc.weight", name + ".sc_bn", in, third, false);
  return block;
}

}  // namespace

FoldedNetwork read_folded_network(const models::ParticleNetOptions& options,
                                  const std::filesystem::path& weights) {
  WeightReader reader(weights);
  FoldedNetwork network{.options = options,
                        .features = read_norm(reader, "bn_fts", options.num_features),
                        .blocks = {},
                        .fusion = {},
                        .hidden = {},
                        .output = {},
                        .heads = {}};
  std::int64_t channels = options.num_features, all = 0;
  for (std::size_t i = 0; i < options.blocks.size(); ++i) {
    network.blocks.push_back(
        read_block(reader, fmt::format("edge_convs.{}", i), options.blocks[i], channels));
    channels = options.blocks[i].channels[2];
    all += channels;
  }
  if (options.fusion) {
    channels = models::fusion_channels(options);
    network.fusion = read_normed(reader, "fusion_block.0.weight", "fusion_block.1", all, channels, true);
  }
  network.hidden = read_linear(reader, "fc.0.0", channels, options.hidden);
  network.hidden.relu = true;
  network.output = read_linear(reader, "fc.1", options.hidden, options.num_classes);
  for (const models::RegressionHead& head : options.heads)
    network.heads.push_back(
        read_linear(reader, "heads." + head.name, options.hidden, head.own_width ? 2 : 1));
  reader.require_all_taken();
  return network;
}

}  // namespace bunchtrain::infer::detail
