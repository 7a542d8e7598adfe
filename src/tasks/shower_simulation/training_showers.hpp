// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The showers of a training, of whichever network: from files, or made by GFlash.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string_view>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/simulate/gflash.hpp"
#include "bunchtrain/tasks/training_files.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::shower_simulation {

struct ShowerSources {
  const tasks::TrainingFiles& files;
  bool physical = false;  ///< cells of files in GeV, not images
  /// Throws for showers of files that the network cannot take.
  std::function<void(const data::ShowerDataset&)> require = [](const data::ShowerDataset&) {};
  std::int64_t showers = 0;                       ///< without files, validation included
  simulate::GflashDatasetOptions simulated = {};  ///< without files: what they are like
};

/// Collective. @throws ConfigError, DataError
data::DatasetSplit open_training_showers(const train::Session& session, const ShowerSources& sources);

/// Some showers, from ranges at equal distances: the same on all ranks. @param showers about so many, not more
/// @param names of the tensors that are kept of them, where the dataset has them
NamedTensors some_showers(const data::Dataset& dataset, std::int64_t showers,
                          std::initializer_list<std::string_view> names);

}  // namespace bunchtrain::shower_simulation
