// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Passes through the modules of the training: the engine that knows all networks.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/device/detail/captured_passes.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "input_counter.hpp"
#include "loaded_network.hpp"

namespace bunchtrain::infer {

/// What a `Predictor` with `Engine::plain` does. Any number of threads may call `run`.
class PlainEngine {
 public:
  /// Memory of one caller.
  struct Scratch {
    features::RawColumns raw = {};
    std::vector<std::int64_t> rows = {};
    std::optional<detail::InputCounter> counter = {};
  };

  /// @param graphs by which passes are repeated, if `options` say so; by default those of the device
  /// @throws as `Predictor::load`
  PlainEngine(const std::filesystem::path& bundle, const PredictorOptions& options,
              std::optional<device::PassGraphs> graphs = std::nullopt);
  PlainEngine(const PlainEngine&) = delete;  // passes refer to it
  PlainEngine& operator=(const PlainEngine&) = delete;

  const LoadedNetwork& network() const noexcept { return network_; }
  const std::vector<InputColumn>& inputs() const noexcept { return inputs_; }
  const std::vector<std::string>& outputs() const noexcept { return outputs_; }
  device::GraphUse graph_use() const;

  /// As `Predictor` has them.
  void run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const;
  NamedTensors run(const NamedTensors& inputs) const;

 private:
  NamedTensors forward(const NamedTensors& tensors) const;
  NamedTensors score(const NamedTensors& tensors) const;
  NamedTensors needed_of(const NamedTensors& tensors) const;
  std::unique_ptr<device::CapturedPasses> repeated(const std::optional<device::PassGraphs>& graphs,
                                                   NamedTensors (PlainEngine::*pass)(const NamedTensors&)
                                                       const) const;

  PredictorOptions options_;
  LoadedNetwork network_;
  std::optional<features::FeaturePipeline> pipeline_;  ///< of networks with a card of jets
  std::vector<InputColumn> inputs_;
  std::vector<std::string> outputs_;
  std::vector<std::string> tensors_;  ///< names of those that the network reads
  std::unique_ptr<device::CapturedPasses> forwards_, scores_;
};

}  // namespace bunchtrain::infer
