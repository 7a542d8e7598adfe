// SPDX-License-Identifier: Apache-2.0
#include "folded_network.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors_file.hpp"

namespace bunchtrain::infer::detail {
namespace {

constexpr double kEpsilon = 1e-5;  ///< of nn::BatchNorm

using weights::SafeTensorsFile;
using weights::TensorEntry;

/// The tensors of a file, each taken once.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path.string()), file_(path) {}

  /// @param shape without trailing dimensions of size 1.
  std::vector<float> take(const std::string& name, std::vector<std::int64_t> shape) {
    const TensorEntry* entry = file_.find(name);
    if (!entry) refuse(fmt::format("it holds no {}", name));
    std::vector<std::int64_t> found = entry->shape;
    while (found.size() > shape.size() && found.back() == 1) found.pop_back();
    if (found != shape)
      refuse(fmt::format("{} is [{}] there, [{}] here", name, fmt::join(entry->shape, ", "),
                         fmt::join(shape, ", ")));
    if (entry->dtype != weights::Dtype::f32)
      throw CheckpointError(fmt::format("{}: {} is {}, the fast engine computes with F32: take the plain one",
                                        path_, name, weights::to_string(entry->dtype)));
    std::vector<float> values(entry->size() / sizeof(float));
    file_.read(*entry, std::as_writable_bytes(std::span(values)));
    if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
      throw CheckpointError(fmt::format("{}: {} holds NaN or infinity", path_, name));
    taken_.insert(name);
    return values;
  }

  /// Numbers of batches, which training alone counts, may be left.
  void require_all_taken() const {
    for (const TensorEntry& entry : file_.entries())
      if (!taken_.contains(entry.name) && !entry.name.ends_with("num_batches_tracked"))
        refuse(fmt::format("it holds {}, which this network does not have", entry.name));
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw CheckpointError(fmt::format("{} belongs to another model: {}", path_, what));
  }

  std::string path_;
  SafeTensorsFile file_;
  std::set<std::string> taken_;
};

FoldedNorm read_norm(Reader& reader, const std::string& name, std::int64_t channels) {
  const auto weight = reader.take(name + ".weight", {channels}),
             bias = reader.take(name + ".bias", {channels});
  const auto mean = reader.take(name + ".running_mean", {channels}),
             variance = reader.take(name + ".running_var", {channels});
  FoldedNorm norm;
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double scale = weight[c] / std::sqrt(static_cast<double>(variance[c]) + kEpsilon);
    norm.scale.push_back(static_cast<float>(scale));
    norm.shift.push_back(static_cast<float>(bias[c] - scale * mean[c]));
  }
  return norm;
}

/// [out, in] as modules keep it, to [in, out].
FoldedLinear transposed(const std::vector<float>& weight, std::int64_t in, std::int64_t out) {
  FoldedLinear linear{.weight = std::vector<float>(weight.size()), .bias = {}, .in = in, .out = out};
  linear.bias.assign(static_cast<std::size_t>(out), 0.0F);
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i)
      linear.weight[static_cast<std::size_t>(i * out + o)] = weight[static_cast<std::size_t>(o * in + i)];
  return linear;
}

FoldedLinear read_linear(Reader& reader, const std::string& name, std::int64_t in, std::int64_t out) {
  FoldedLinear linear = transposed(reader.take(name + ".weight", {out, in}), in, out);
  linear.bias = reader.take(name + ".bias", {out});
  return linear;
}

FoldedLinear read_normed(Reader& reader, const std::string& weight, const std::string& norm_name,
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
FoldedLinear read_terms(Reader& reader, const std::string& name, std::int64_t in, std::int64_t out) {
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

FoldedBlock read_block(Reader& reader, const std::string& name, const models::EdgeConvSpec& spec,
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

std::int64_t FoldedNetwork::widest() const noexcept {
  std::int64_t widest = 0, all = 0;
  for (const FoldedBlock& block : blocks) {
    widest = std::max(widest, block.third.out);
    all += block.third.out;
  }
  return fusion ? all : widest;
}

FoldedNetwork read_folded_network(const models::ParticleNetOptions& options,
                                  const std::filesystem::path& weights) {
  Reader reader(weights);
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
