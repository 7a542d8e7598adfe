// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a prediction of scaling starts from: a machine, and what a training step does on it.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace scaling {

/// A transfer of n bytes takes latency + n / bandwidth.
struct Link {
  double latency_seconds = 0;
  double bytes_per_second = std::numeric_limits<double>::infinity();
};

/// A sum over all replicas, issued and needed at shares of a step's computing: computing goes on between the two.
struct Collective {
  double bytes = 0;
  double issued = 1;
  double needed = 1;
};

/// Times of computing: every rank and step draws its own.
struct Stragglers {
  double spread = 0;  ///< standard deviation of the logarithm; the mean stays
  int slow_ranks = 0;
  double slow_factor = 1;
};

/// A rank asks its loader for a batch and waits if it is not there.
struct Loader {
  int prefetch = 2;               ///< batches made ahead, 0: each when it is asked for
  double seconds_per_sample = 0;  ///< on a rank, in the shadow of its computing if prefetch > 0
  /// Of the source that all ranks share.
  double samples_per_second = std::numeric_limits<double>::infinity();
};

/// Replicas of so many stages. Without a profile a replica is one rank.
struct Stages {
  int pipeline = 1;
  std::string schedule = "1f1b";  ///< gpipe, 1f1b, interleaved, zb-h1 or zb-v
  int microbatches = 0;           ///< 0: the best of those that `bunchtrain plan` tries
  std::filesystem::path profile;  ///< as `bunchtrain plan` writes it
};

/// A time that somebody measured.
struct KnownEpoch {
  int ranks = 0;
  double seconds = 0;
};

struct Machine {
  std::string name;
  std::vector<std::string> sources;  ///< where each number comes from
  std::int64_t samples = 0;          ///< per epoch
  std::int64_t batch = 0;            ///< per replica and step
  double seconds_per_step = 0;       ///< computing of a replica, whatever its batch, and
  double seconds_per_sample = 0;     ///< for each sample of it
  /// The time of a step is chosen so that this epoch takes as long, if `ranks` is not 0.
  KnownEpoch calibration = {};
  std::vector<Collective> collectives;
  Link inside = {};        ///< between ranks of a node
  Link between = {};       ///< between nodes: a node's whole bandwidth
  int ranks_per_node = 1;  ///< at most
  int least_nodes = 1;     ///< that any number of ranks is spread over
  Stragglers stragglers = {};
  Loader loader = {};
  Stages stages = {};
  std::vector<KnownEpoch> measured;  ///< for comparison, never for fitting

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Reads a TOML file. @throws ConfigError for what does not read, an unknown key, a wrong type or value, with the line;
/// IoError.
Machine read_machine(const std::filesystem::path& file);

/// Of so many ranks, filled up node by node.
int nodes_of(const Machine& machine, int ranks) noexcept;

}  // namespace scaling
