// SPDX-License-Identifier: Apache-2.0
#include "shower_description.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"

namespace bunchtrain::shower_simulation {
namespace {

constexpr std::string_view kGenerator = "3dgan-generator";
constexpr std::string_view kDiffusion = "calo-diffusion";
constexpr std::string_view kOldPrefix = "3dgan-";  // "3dgan-fixed", as version 0.1 wrote it
constexpr const char* kModel = "model";
constexpr const char* kEnergies = "trained energies";

ShowerDescription parse_model(const std::string& text, const std::string& origin) {
  const auto model = models::ModelDescription::parse(text);
  ShowerDescription description;
  if (model.name() == kGenerator) {
    description.generator = models::ShowerGeneratorOptions::from(model);
  } else if (model.name() == kDiffusion) {
    description.diffusion = models::CaloDiffusionOptions::from(model);
  } else if (model.name().starts_with(kOldPrefix)) {
    description.generator.variant =
        models::parse_shower_variant(std::string_view(model.name()).substr(kOldPrefix.size()));
    return description;
  } else {
    throw CheckpointError(fmt::format("{} is no run of train_3dgan or train_calo_diffusion: its model is {}",
                                      origin, model.name()));
  }
  model.require_known_fields();
  return description;
}

}  // namespace

std::map<std::string, std::string> to_metadata(const EnergyRange& energies) {
  return {{kEnergies, fmt::format("{:.6g} to {:.6g} GeV", energies.lowest, energies.highest)}};
}

std::map<std::string, std::string> to_metadata(const ShowerDescription& description) {
  std::map<std::string, std::string> metadata;
  if (description.energies) metadata = to_metadata(*description.energies);
  metadata[kModel] = description.diffusion ? description.diffusion->describe().to_json()
                                           : description.generator.describe().to_json();
  return metadata;
}

ShowerDescription parse_shower_description(const std::map<std::string, std::string>& metadata,
                                           const std::string& origin) {
  const auto model = metadata.find(kModel);
  if (model == metadata.end())
    throw CheckpointError(
        fmt::format("{} is no run of train_3dgan or train_calo_diffusion: its model is not named", origin));
  ShowerDescription description = parse_model(model->second, origin);
  EnergyRange range;
  const auto energies = metadata.find(kEnergies);
  if (energies != metadata.end() &&
      std::sscanf(energies->second.c_str(), "%lf to %lf GeV", &range.lowest, &range.highest) == 2)
    description.energies = range;
  return description;
}

}  // namespace bunchtrain::shower_simulation
