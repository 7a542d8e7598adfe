// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The model bundle: a folder with all that it takes to use a trained network.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/weights/bundle_content.hpp"

namespace bunchtrain::weights {

/// Weights, and what they mean. On disk: model.safetensors, card.toml (if there is a card), and bundle.json
/// with everything else and the checksums of all; of version 2 if there are files for other programs.
struct Bundle {
  NamedTensors weights;  ///< `named_state` of the module
  std::string model =
      {};  ///< description that `models::create_from` reads; empty: its program makes the network
  std::string card = {};                             ///< resolved data card, TOML; empty: data in memory
  std::vector<std::string> classes = {};             ///< in the order of the outputs
  std::map<std::string, std::string> metadata = {};  ///< versions, run, snapshot, step, epoch, score
  /// Files that other programs read, by name: "model.onnx", "model_card.json", "preprocess.json". Written and proved,
  /// not read.
  std::map<std::string, std::string> extras = {};
  std::string hash = {};  ///< XXH3-128 of what bundle.json holds, set by reading
};

/// Writes a bundle: whole or not at all. What stands at `folder` is replaced if it is a bundle.
/// `write_bundle("top", {.weights = named_state(*net), .model = net->description(), .card = card})`. Returns
/// its hash.
/// @throws CheckpointError if something else stands there or the folder cannot be written, or for a tensor
/// that cannot be stored; ConfigError for other extras; IoError for a full disk. Nothing is left behind.
std::string write_bundle(const std::filesystem::path& folder, const Bundle& bundle);

/// Reads one without trust: format, sizes and checksums are proved, nothing outside the folder is opened.
/// @throws CheckpointError naming what is missing, damaged or newer; DataError, IoError for a file that cannot be read.
Bundle read_bundle(const std::filesystem::path& folder);

}  // namespace bunchtrain::weights
