// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A bundle of a ParticleNet, read without LibTorch: proved to belong together.

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
#include "folded_network.hpp"

namespace bunchtrain::infer::detail {

/// The places of the network's inputs among those of the card.
struct InputPlaces {
  std::size_t points = 0, features = 0;
};

struct LoadedParticleNet {
  std::string origin;
  weights::BundleContent content;
  features::Card card;
  FoldedNetwork network;
  InputPlaces places;
  std::vector<std::string> classes;
  std::vector<std::string> outputs;  ///< the classes, then the estimates of heads and their own errors

  /// Columns of "points".
  std::int64_t dims() const noexcept { return std::ssize(card.inputs[places.points].second); }
};

/// @throws CheckpointError for a bundle that is none, damaged, newer, of another network.
LoadedParticleNet load_particle_net(const std::filesystem::path& bundle);

}  // namespace bunchtrain::infer::detail
