// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks by name, for programs that learn from a flag or a checkpoint which one to make: the reference
/// models, and those that a program registers.

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/nn/edge_storage.hpp"

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
  /// What a registered model has besides: {"width", "64"}; of ParticleNet blocks, hidden and padding.
  std::map<std::string, std::string, std::less<>> more = {};
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
  /// Of one training step; 0 = not known.
  virtual std::int64_t predicted_activation_bytes(std::int64_t jets, std::int64_t particles,
                                                  nn::EdgeStorage storage) const = 0;
};

/// Any module holder with `forward(points, features, mask)` as a model.
template <class Holder>
std::unique_ptr<ParticleCloudModel> make_cloud_model(Holder net);

using ModelFactory = std::function<std::unique_ptr<ParticleCloudModel>(const ModelOptions&)>;
/// Makes a network of the program's own known by name, so that `jet_tagging::evaluate` builds
/// it from a snapshot: `register_model("deep-set", [](const ModelOptions& o) { return
/// make_cloud_model(DeepSet(o.num_features, o.num_classes)); })`. Call it first thing in
/// `main`; not thread-safe.
/// @throws ConfigError for a name that is taken, empty or not one word.
void register_model(std::string name, ModelFactory factory);

/// "particlenet", "particlenet-lite", then what was registered.
std::vector<std::string> names();

/// @throws ConfigError naming the field, with the names allowed.
std::unique_ptr<ParticleCloudModel> create(std::string_view name, const ModelOptions& options);

/// One line of text that `create_from` reads back, for run.json and a checkpoint's metadata:
/// "particlenet-lite num_features=7 num_classes=2 dropout=0.1 fusion=0 recompute=0 real_rows=0 seed=1".
std::string describe(std::string_view name, const ModelOptions& options);
/// @throws ConfigError naming the part that does not read.
std::unique_ptr<ParticleCloudModel> create_from(std::string_view description);

/// Trainable numbers of a module.
std::int64_t count_parameters(const torch::nn::Module& module);

// ---- details ----

template <class Holder>
std::unique_ptr<ParticleCloudModel> make_cloud_model(Holder net) {
  class HeldModel final : public ParticleCloudModel {
   public:
    explicit HeldModel(Holder net) : net_(std::move(net)), module_(net_.ptr()) {}
    at::Tensor forward(const at::Tensor& points, const at::Tensor& features,
                       const at::Tensor& mask) override {
      return net_->forward(points, features, mask);
    }
    const std::shared_ptr<torch::nn::Module>& module() const noexcept override { return module_; }
    std::int64_t predicted_activation_bytes(std::int64_t, std::int64_t, nn::EdgeStorage) const override {
      return 0;
    }

   private:
    Holder net_;
    std::shared_ptr<torch::nn::Module> module_;
  };
  return std::make_unique<HeldModel>(std::move(net));
}

}  // namespace bunchtrain::models
