// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What people and other programs want to know of a network, beside it in an exported bundle. Knows no LibTorch.

#include <filesystem>
#include <string>

#include "bunchtrain/infer/onnx_export.hpp"

namespace bunchtrain::infer {

struct ModelCardOptions {
  std::string licence = {};         ///< of the weights; empty: none is stated
  const OnnxModel* onnx = nullptr;  ///< the graph beside it
};

/// JSON: task, model, classes, raw columns with units, what the training recorded (versions, run, score, data), licence,
/// the proof of the ONNX file.
/// @throws CheckpointError for a bundle that cannot be used.
std::string model_card(const std::filesystem::path& bundle, const ModelCardOptions& options = {});

/// JSON in the shape that CMSSW reads beside a ParticleNet: for each input tensor its variables, in order, and how each is
/// centred, scaled and clipped. Variables are expressions of the card. Empty for a network without a card of jets.
/// @throws CheckpointError for a bundle that cannot be used.
std::string preprocess_json(const std::filesystem::path& bundle);

}  // namespace bunchtrain::infer
