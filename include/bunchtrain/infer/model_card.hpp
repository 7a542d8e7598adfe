// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What people and other programs want to know of a network, beside it in an exported bundle. Knows no LibTorch.

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/infer/onnx_export.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {

/// A number that an evaluation gave, with its statistical error as a text: {"AUC", "0.9120 ± 0.0031"}.
struct CardMetric {
  std::string name, value;
};

struct ModelCardOptions {
  std::string licence = {};         ///< of the weights; empty: none is stated
  const OnnxModel* onnx = nullptr;  ///< the graph beside it
  std::vector<CardMetric> metrics = {};
  std::string evaluated_on = {};  ///< where the metrics are from
};

/// JSON: task, model, classes, raw columns with units and ranges, what the training recorded (versions, run, score, data), licence,
/// the proof of the ONNX file.
/// @throws CheckpointError for a bundle that cannot be used.
std::string model_card(const std::filesystem::path& bundle, const ModelCardOptions& options = {});

/// JSON in the shape that Athena's flavour tagging reads in the metadata of an ONNX file, under "gnn_config": for each input
/// tensor its variables in order, with (x + offset) scale, and the names of the outputs. `export_onnx` writes it there.
/// Empty for a network without a card of jets.
/// @throws CheckpointError for a bundle that cannot be used.
std::string gnn_config_json(const std::filesystem::path& bundle);

/// JSON in the shape that CMSSW reads beside a ParticleNet: for each input tensor its variables, in order, and how each is
/// centred, scaled and clipped. Variables are expressions of the card. Empty for a network without a card of jets.
/// @throws CheckpointError for a bundle that cannot be used.
std::string preprocess_json(const std::filesystem::path& bundle);

}  // namespace v0_1
}  // namespace bunchtrain::infer
