// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The model contract: what training, evaluation and inference know of a network.

#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/nn/edge_storage.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// Named tensors in, named tensors out. Derive a network from it beside `torch::nn::Module`, and every engine
/// can train it, every objective judge it, and a description builds it again.
class Model {
 public:
  virtual ~Model() = default;
  /// Names of the tensors that `forward` reads, those of the data card: "points", "features", "mask".
  virtual std::vector<std::string> input_names() const = 0;
  /// Outputs by name, one per head, with a row per sample: "logits" [B, C] of a classifier.
  /// @param inputs has at least those of `input_names`; others are left alone.
  virtual NamedTensors forward(const NamedTensors& inputs) = 0;
  /// What builds the network again: one line of JSON, {"model": "particlenet", "num_features": 7, ...}, which
  /// `models::create_from` reads if the name is registered. Empty: nothing does.
  virtual std::string description() const { return {}; }
  /// Whether a pass of batches of one shape, of training or evaluation, enqueues the same work on a GPU every time, without
  /// the host waiting for numbers of the device, and reads what changes from memory (`StepContext::step_in_memory`): then the
  /// Trainer may capture steps in a CUDA graph without being asked to, and `infer::Predictor` passes.
  virtual bool is_capturable() const { return false; }
  /// Bytes that one training step of so many samples of so many entries (particles) keeps for backward, at
  /// its worst moment; 0 = not known.
  virtual std::int64_t predicted_activation_bytes(std::int64_t /*samples*/, std::int64_t /*entries*/,
                                                  EdgeStorage /*storage*/ = {}) const {
    return 0;
  }
};

/// The module as a model; nullptr if it is none.
Model* as_model(torch::nn::Module& module) noexcept;
const Model* as_model(const torch::nn::Module& module) noexcept;

/// `Model::description` of a module; empty if it is no model or has none.
std::string describe(const torch::nn::Module& module);

}  // namespace bunchtrain::nn
