// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The reference models by name, for programs that learn from a flag or a checkpoint which one to make.

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bunchtrain::models {

/// What a program chooses about a model. Everything else is the published architecture of that name.
struct ModelOptions {
  std::int64_t num_features = 7;
  std::int64_t num_classes = 2;
  double dropout = 0.1;
  bool fusion = false;     ///< weaver's fusion block over all blocks' outputs
  bool recompute = false;  ///< recompute edges in backward: less memory, more time
  bool real_rows = false;  ///< batch-norm statistics of real particles only, not of padding too
  std::uint64_t seed = 1;  ///< of the initial weights
};

/// A classifier of particle clouds: logits [B, num_classes] from points [B, P, D], features [B, P, F], mask
/// [B, P] bool.
class ParticleCloudModel {
 public:
  virtual ~ParticleCloudModel() = default;
  virtual at::Tensor forward(const at::Tensor& points, const at::Tensor& features,
                             const at::Tensor& mask) = 0;
  /// Parameters and buffers live here; shared with whoever trains or saves them.
  virtual const std::shared_ptr<torch::nn::Module>& module() const noexcept = 0;
  virtual std::int64_t predicted_activation_bytes(std::int64_t jets, std::int64_t particles) const = 0;
};

/// "particlenet", "particlenet-lite".
std::span<const std::string_view> names() noexcept;

/// @throws ConfigError naming the field, with the names allowed.
std::unique_ptr<ParticleCloudModel> create(std::string_view name, const ModelOptions& options);

/// One line of text that `create_from` reads back, for run.json and a checkpoint's metadata:
/// "particlenet-lite num_features=7 num_classes=2 dropout=0.1 fusion=0 recompute=0 real_rows=0 seed=1".
std::string describe(std::string_view name, const ModelOptions& options);
/// @throws ConfigError naming the part that does not read.
std::unique_ptr<ParticleCloudModel> create_from(std::string_view description);

/// Trainable numbers of a module.
std::int64_t count_parameters(const torch::nn::Module& module);

}  // namespace bunchtrain::models
