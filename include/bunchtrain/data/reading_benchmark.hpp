// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How fast the datasets of a file are read here by each engine, beside what storage and decoding would allow.

#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/data/io_engine.hpp"

namespace bunchtrain::data {

struct ReadingBenchmarkOptions {
  std::string file = {};
  std::vector<std::string> datasets = {};  ///< empty: the one with the most bytes
  std::vector<IoEngine> engines = {};      ///< empty: all that are available here
  std::vector<int> threads = {1};
  bool cold = false;  ///< the file's pages are dropped before each measurement
  int repeats = 3;    ///< medians are taken
  std::int64_t most_bytes = std::int64_t{512} << 20;  ///< decoded, per measurement

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// One way of reading one dataset. Blocks of whole chunks are read in shuffled order, as a loader does.
struct ReadingSpeed {
  std::string dataset;
  std::string way;  ///< "pread + own inflate", "H5Dread by chunks", "H5Dread by rows"
  int threads = 1;
  double bytes_per_second = 0;  ///< decoded
  /// The same if reading these bytes in stored order, or decoding them from memory on all threads, took all the time:
  /// whichever takes longer.
  double bound = 0;
  std::string bound_by;  ///< "storage" or "decoding"
};

struct ReadingBenchmark {
  std::vector<ReadingSpeed> speeds;
  std::vector<std::string> left_out;  ///< "io_uring: why"
};

/// Takes a while. @throws ConfigError, DataError, IoError as reading does.
ReadingBenchmark measure_reading(const ReadingBenchmarkOptions& options);

}  // namespace bunchtrain::data
