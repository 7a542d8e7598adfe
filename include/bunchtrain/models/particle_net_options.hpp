// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a ParticleNet is made of. Knows no LibTorch.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace bunchtrain::models {

class ModelDescription;

/// One EdgeConv block: k neighbours and the widths of its three layers.
struct EdgeConvSpec {
  std::int64_t k;
  std::array<std::int64_t, 3> channels;
  bool operator==(const EdgeConvSpec&) const = default;
};

/// The published implementations differ in how padding enters (research: weaver, TF-Keras, MXNet).
enum class PaddingRule {
  /// The default, as in weaver-core: features zeroed after every block, mean over real particles.
  weaver,
  /// Features zeroed once at the end, mean over all P slots.
  keras,
};

/// Batch-norm statistics: with padded slots, as published, or of real entries only.
enum class BatchNormRows { all, real };

/// An output beside the logits: an estimate of one real number of each jet.
struct RegressionHead {
  std::string name;  ///< of the output, [B]
  /// The output is mean + width * (what the last layer gives), so that it has the unit of its target while the
  /// layer works with numbers around 1.
  double mean = 0, width = 1;
  /// A second output "NAME_width" [B], above 0: the network's own error of the estimate, in its unit.
  bool own_width = false;
  bool operator==(const RegressionHead&) const = default;
};

/// "energy_width" of "energy".
std::string width_output(const std::string& head);

struct ParticleNetOptions {
  std::int64_t num_features = 7;
  std::int64_t num_classes = 2;
  std::vector<EdgeConvSpec> blocks = {{16, {64, 64, 64}}, {16, {128, 128, 128}}, {16, {256, 256, 256}}};
  std::int64_t hidden = 256;
  double dropout = 0.1;
  bool fusion = false;
  PaddingRule padding = PaddingRule::weaver;
  BatchNormRows batch_norm_rows = BatchNormRows::all;
  bool recompute = false;  ///< recompute edges in backward instead of keeping them
  /// Each is a linear layer "heads.NAME" on the hidden layer that the logits are made of.
  std::vector<RegressionHead> heads = {};
  std::uint64_t seed = 1;  ///< of the initial weights

  /// The 26 k parameter variant: (7, 32), (7, 64), hidden 128.
  static ParticleNetOptions lite(std::int64_t num_features = 7, std::int64_t num_classes = 2);
  /// From a description of "particlenet" or "particlenet-lite"; what it leaves out is as published.
  /// @throws ConfigError naming the field.
  static ParticleNetOptions from(const ModelDescription& description);
  /// All fields.
  ModelDescription describe() const;
  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Channels of the fusion block: all blocks' outputs, rounded down to a multiple of 128 between 128 and 1024.
std::int64_t fusion_channels(const ParticleNetOptions& options);

}  // namespace bunchtrain::models
