// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a checkpoint of a generator of showers says of itself.

#include <map>
#include <optional>
#include <string>

#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"

namespace bunchtrain::shower_simulation {

/// The metadata that rebuild a network and say what it has seen.
struct ShowerDescription {
  models::ShowerGeneratorOptions generator = {};  ///< unless `diffusion`
  std::optional<models::CaloDiffusionOptions> diffusion = {};
  std::optional<EnergyRange> energies = {};
};

/// "model": {"model": "3dgan-generator", "variant": "fixed", ...}, "trained energies": "10 to 100 GeV".
std::map<std::string, std::string> to_metadata(const ShowerDescription& description);
/// "trained energies" alone.
std::map<std::string, std::string> to_metadata(const EnergyRange& energies);
/// Reads those of version 0.1 too. @throws CheckpointError if the metadata are of another kind of model.
ShowerDescription parse_shower_description(const std::map<std::string, std::string>& metadata,
                                           const std::string& origin);

}  // namespace bunchtrain::shower_simulation
