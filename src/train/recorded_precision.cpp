// SPDX-License-Identifier: Apache-2.0
#include "recorded_precision.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

namespace bunchtrain::train {

std::string recorded_precision(const std::filesystem::path& run_folder) {
  if (run_folder.empty()) return {};
  std::ifstream file(run_folder / "run.json");
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  const nlohmann::json::json_pointer place("/environment/precision");
  return json.contains(place) && json[place].is_string() ? json[place].get<std::string>() : std::string();
}

}  // namespace bunchtrain::train
