// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Scores of files by a bundle, in one process without MPI: what `evaluate` writes, without its tables.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/io_engine.hpp"

namespace bunchtrain::jet_tagging {

struct ScoreOptions {
  std::filesystem::path bundle = {};
  std::vector<std::string> data = {};  ///< HDF5 files of the layout that the bundle's card reads
  std::string output = {};             ///< empty: scores.h5 beside the bundle
  std::int64_t batch = 256;            ///< jets per pass
  int threads = 1;                     ///< that decode files
  bool force = false;                  ///< replace a file that something else wrote
  bool hdf5_plugins = false;           ///< allow filter plug-ins, which load code that a file names
  data::IoEngine io = data::IoEngine::automatic;  ///< which engine fetches the bytes of the files
  Logger logger = {};

  /// @throws ConfigError naming the field.
  void validate() const;
};

struct ScoreResult {
  std::filesystem::path scores;
  std::int64_t jets = 0;  ///< scored
  std::string data;       ///< "toy.h5"
  std::string hash;       ///< of the bundle
};

/// Writes the file that `evaluate` writes of the same bundle and files, bit for bit with as many threads, by
/// `infer::Predictor`: any network that the registry knows.
/// @throws ConfigError, DataError, CheckpointError as `evaluate` does
ScoreResult score(const ScoreOptions& options);

}  // namespace bunchtrain::jet_tagging
