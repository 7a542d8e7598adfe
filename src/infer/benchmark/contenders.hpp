// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Engines with the batches that they are measured with.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/infer/inference_benchmark.hpp"

namespace bunchtrain::infer::detail {

/// Scores the batch of a number, on the thread that made it.
using Worker = std::function<void(std::size_t batch)>;

/// An engine with its batches.
struct Contender {
  std::string engine;
  std::size_t batches = 0;
  std::function<Worker()> make_worker;
};

/// Contenders for batches of a size.
using ContendersOf = std::function<std::vector<Contender>(std::int64_t batch)>;

inline constexpr std::int64_t kMostJets = 256;  ///< that are scored again and again

/// @param benchmark is told of the jets, and which contenders cannot be measured and why.
/// @throws ConfigError for a column that the jets of a file lack.
ContendersOf jet_contenders(const InferenceBenchmarkOptions& options, InferenceBenchmark& benchmark);

/// Of a generator of showers.
ContendersOf shower_contenders(const InferenceBenchmarkOptions& options);

}  // namespace bunchtrain::infer::detail
