// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Cuts a sequence of units into the stages of a pipeline, so that the slowest rank is as fast as can be.

#include <limits>
#include <string>
#include <vector>

#include "bunchtrain/parallel/pipeline_costs.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"

namespace bunchtrain::parallel {

/// A part of a network that is not cut: a layer or a block. Costs are of one microbatch.
struct PipelineUnit {
  std::string name;
  StageCosts costs = {};
  double parameter_bytes = 0;  ///< with all that is kept beside them: gradients, moments
  double output_bytes = 0;     ///< what the next unit gets
  /// Of the output, what no backward needs: one pass over all units lets it go behind its last reader; stages, whose graphs
  /// end at units, keep it.
  double transient_bytes = 0;
  double revived_bytes = 0;  ///< of what is transient, what a unit that is computed again keeps as its input
};

/// What a unit gives to one that is not the next: a skip connection.
struct PipelineSkip {
  int from = 0;
  int to = 0;
  double bytes = 0;
};

struct PartitionProblem {
  std::vector<PipelineUnit> units = {};
  std::vector<PipelineSkip> skips = {};
  PipelineKind kind = PipelineKind::one_f_one_b;
  PipelineShape shape = {};
  double memory_bytes =
      std::numeric_limits<double>::infinity();  ///< of a rank, for parameters and activations
  /// Bytes of a connection between ranks per unit of time. What crosses a cut, skips included, costs the stage behind it
  /// that time twice: it gets the activations and sends their gradients back.
  double bandwidth = std::numeric_limits<double>::infinity();
};

struct PipelinePartition {
  std::vector<int> begins;  ///< first unit of each stage, and the number of units
  PipelineCosts costs;      ///< of the stages, with their transfers: for `make_schedule` and `simulate`
  std::vector<double> rank_times;  ///< of one microbatch
  std::vector<double> rank_bytes;  ///< at most, see `partition`
  double slowest() const noexcept;
};

/// The partition whose slowest rank (with `interleaved`: slowest stage) takes least time for a microbatch, among those
/// in which each rank's parameters and activations fit. Exact; some hundred units take well under a second. A rank's
/// activations are counted as the most that each of its stages holds in the schedule, which is at most twice too much
/// where a rank has two stages.
/// @throws ConfigError for fewer units than stages, skips that lead nowhere or back, or memory in which no partition
/// fits: says how much the best one needs.
PipelinePartition partition(const PartitionProblem& problem);

}  // namespace bunchtrain::parallel
