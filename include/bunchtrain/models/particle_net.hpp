// SPDX-License-Identifier: Apache-2.0
#pragma once
/// ParticleNet (Qu & Gouskos, 1902.08570): dynamic graph CNN on particle clouds, and its Lite variant.

#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/models/module_holder.hpp"
#include "bunchtrain/models/particle_net_options.hpp"
#include "bunchtrain/nn/edge_storage.hpp"
#include "bunchtrain/nn/model.hpp"

namespace bunchtrain::models {

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
  bool is_capturable() const override { return true; }
  /// Bytes that one training step of B jets of P particles needs for activations at its worst moment
  /// (prediction, printed before step 1). A card (`storage.device`) is asked which blocks it computes by fused passes
  /// in the precision set now.
  std::int64_t predicted_activation_bytes(std::int64_t jets, std::int64_t particles,
                                          nn::EdgeStorage storage = {}) const override;
  /// A line for each block whose edges go through operations on a GPU, in the precision set now: which, and why
  /// (`ops::why_by_operations`). For a log.
  std::vector<std::string> blocks_by_operations(std::int64_t particles, c10::Device device) const;

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
