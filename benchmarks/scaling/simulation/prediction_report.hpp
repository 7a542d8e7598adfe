// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Predictions as a table and a picture, beside what was measured.

#include <filesystem>
#include <string>
#include <vector>

#include "epoch_simulation.hpp"

namespace scaling {

struct Prediction {
  Machine machine;  ///< as simulated
  std::vector<Epoch> epochs;
  std::string command;
};

/// Writes prediction.md, prediction.json and prediction.svg. Returns the text of prediction.md.
std::string write_prediction(const std::filesystem::path& folder, const Prediction& prediction);

}  // namespace scaling
