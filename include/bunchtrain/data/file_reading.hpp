// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the datasets of a file would be read here, and why.

#include <string>
#include <vector>

#include "bunchtrain/data/io_engine.hpp"

namespace bunchtrain::data {

/// One dataset: "pread + own zstd", "H5Dread (filter szip (4))".
struct DatasetReading {
  std::string dataset;
  std::string way;
  /// Rows lie in the file as they are, or shuffled alone: a GPU can decode them (`DecodeOn::device`).
  bool plain = false;
  std::string problem;  ///< why it cannot be read; then there is no way
};

struct FileReading {
  std::vector<DatasetReading> datasets;
  /// Of the file as a whole: "files: pread (1.2 GB fit in memory), bound by decoding".
  std::string choice;
  /// Engines that cannot be used here, with the reason: "io_uring: the system refuses io_uring (...)".
  std::vector<std::string> unavailable;
};

/// Opens and maps every dataset. @throws DataError if the file cannot be opened; ConfigError as `JetDataset` for an
/// engine that cannot be used here.
FileReading describe_reading(const std::string& path, IoEngine engine = IoEngine::automatic,
                             bool allow_plugins = false);

}  // namespace bunchtrain::data
