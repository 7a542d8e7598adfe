// SPDX-License-Identifier: Apache-2.0
#include "shower_description.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::shower_simulation {
namespace {

constexpr std::string_view kPrefix = "3dgan-";
constexpr const char* kModel = "model";
constexpr const char* kEnergies = "trained energies";

}  // namespace

std::map<std::string, std::string> to_metadata(const ShowerDescription& description) {
  std::map<std::string, std::string> metadata = {
      {kModel, fmt::format("{}{}", kPrefix, models::to_string(description.variant))}};
  if (description.energies)
    metadata[kEnergies] =
        fmt::format("{:.6g} to {:.6g} GeV", description.energies->lowest, description.energies->highest);
  return metadata;
}

ShowerDescription parse_shower_description(const std::map<std::string, std::string>& metadata,
                                           const std::string& origin) {
  const auto model = metadata.find(kModel);
  if (model == metadata.end() || !model->second.starts_with(kPrefix))
    throw CheckpointError(fmt::format("{} is no run of train_3dgan: its model is {}", origin,
                                      model == metadata.end() ? "not named" : model->second));
  ShowerDescription description{
      .variant = models::parse_shower_variant(std::string_view(model->second).substr(kPrefix.size()))};
  EnergyRange range;
  const auto energies = metadata.find(kEnergies);
  if (energies != metadata.end() &&
      std::sscanf(energies->second.c_str(), "%lf to %lf GeV", &range.lowest, &range.highest) == 2)
    description.energies = range;
  return description;
}

}  // namespace bunchtrain::shower_simulation
