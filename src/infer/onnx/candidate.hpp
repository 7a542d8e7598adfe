// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A graph that is to be written, and how it is proved.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "bunchtrain/infer/onnx_export.hpp"
#include "graph.hpp"

namespace bunchtrain::infer::onnx {

struct Candidate {
  Graph graph;
  std::int64_t least_particles = 0;  ///< 0: of no jets
  std::uint64_t trials = 1;          ///< with other inputs, until one agrees
  /// The largest between outputs of a graph, as it was read again, and of the fast engine, for inputs of a seed.
  std::function<double(const Graph&, std::uint64_t)> difference;
};

/// The larger, or NaN.
inline double larger(double largest, double difference) {
  return std::isnan(largest) || difference <= largest ? largest : difference;
}

/// @throws CheckpointError for a bundle that cannot be used.
Candidate particle_net_candidate(const std::filesystem::path& bundle, const OnnxOptions& options);
Candidate generator_candidate(const std::filesystem::path& bundle, const OnnxOptions& options);

}  // namespace bunchtrain::infer::onnx
