// SPDX-License-Identifier: Apache-2.0
#pragma once
/// ParticleNet (Qu & Gouskos, 1902.08570): dynamic graph CNN on particle clouds, and its Lite variant.

#include <torch/nn/module.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/models/module_holder.hpp"
#include "bunchtrain/nn/edge_storage.hpp"
#include "bunchtrain/nn/model.hpp"

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

/// ParticleNet. Parameter names are weaver-core's (`bn_fts`,
/// `edge_convs.0.convs.0.weight`, `fc.0.0.weight`, ...).
class ParticleNetImpl : public torch::nn::Module, public nn::Model {
 public:
  explicit ParticleNetImpl(ParticleNetOptions options = {});

  /// Logits [B, num_classes].
  /// @param points [B, P, 2] (deta, dphi), @param features [B, P, F], @param mask [B, P]
  /// bool, true = real particle.
  /// @throws ConfigError if P <= k of a block or shapes do not fit.
  at::Tensor forward(const at::Tensor& points, const at::Tensor& features, const at::Tensor& mask);
  /// By name: "points", "features", "mask" to "logits" and the estimates [B] of the heads, with their widths.
  NamedTensors forward(const NamedTensors& inputs) override;
  std::vector<std::string> input_names() const override;

  const ParticleNetOptions& options() const noexcept { return options_; }
  std::string description() const override;
  /// Bytes that one training step of B jets of P particles needs for activations at its worst moment
  /// (prediction, printed before step 1).
  std::int64_t predicted_activation_bytes(std::int64_t jets, std::int64_t particles,
                                          nn::EdgeStorage storage = {}) const override;

 private:
  struct Blocks;
  void register_edge_convs();
  std::int64_t register_fusion();
  void register_heads();
  at::Tensor fuse(const std::vector<at::Tensor>& outputs, const std::optional<at::Tensor>& counted);
  /// [B, hidden]: what all outputs are made of.
  at::Tensor embed(const at::Tensor& points, const at::Tensor& features, const at::Tensor& mask);
  at::Tensor pool(const at::Tensor& x, const at::Tensor& mask);

  ParticleNetOptions options_;
  std::shared_ptr<Blocks> blocks_;
};
class ParticleNet : public ModuleHolder<ParticleNetImpl, ParticleNetOptions> {
 public:
  using ModuleHolder::ModuleHolder;
};

}  // namespace bunchtrain::models
