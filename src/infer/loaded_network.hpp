// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A bundle read, and its network built: proved to belong together.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_ranges.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::infer {

struct LoadedNetwork {
  std::shared_ptr<torch::nn::Module> module;  ///< an `nn::Model` in evaluation mode, without gradients
  std::optional<features::Card> card;         ///< of jets; nothing of networks whose inputs are tensors
  std::vector<std::string> classes;
  std::vector<std::string> estimates;  ///< outputs beside the logits, in the order of the card's targets
  std::string origin, hash;
  features::RawRanges ranges;  ///< of the raw columns in the training
  bool in_double = false;
};

/// @throws CheckpointError
LoadedNetwork load_network(const std::filesystem::path& bundle);

}  // namespace bunchtrain::infer
