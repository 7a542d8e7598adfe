// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which layouts of ranks can train a network, and how fast each is predicted to be.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "bunchtrain/parallel/pipeline_partition.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"

namespace bunchtrain::parallel {

/// What the units of a network cost: times in seconds, bytes of activations and outputs per sample; parameters as they are.
struct UnitProfile {
  std::string model = {};    ///< as its description says
  std::string machine = {};  ///< where it was measured
  std::vector<PipelineUnit> units = {};
  std::vector<PipelineSkip> skips = {};
};

struct LayoutQuestion {
  UnitProfile profile = {};
  int ranks = 1;
  std::int64_t batch = 64;                                        ///< samples per step, all ranks
  double memory_bytes = std::numeric_limits<double>::infinity();  ///< of a rank
  double bandwidth = 10e9;                                        ///< bytes per second from a rank to another
  double state_factor = 4;  ///< bytes kept per byte of parameters: with gradients and two moments

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// A prediction, from measured units and one bandwidth: no latency, no shared links, no straggler.
struct Layout {
  int data = 1, pipeline = 1;
  PipelineKind kind = PipelineKind::one_f_one_b;  ///< without meaning for one stage
  int microbatches = 1;
  int stages_per_rank = 1;
  std::vector<int> begins = {};  ///< as `PipelineOptions::begins`
  PipelineCosts costs = {};      ///< of a microbatch, seconds
  double step_seconds = 0;
  double compute_seconds = 0;  ///< of the busiest rank
  double sum_seconds = 0;      ///< of gradients over replicas, behind the passes
  double rank_bytes = 0;       ///< of the fullest rank: parameters with their state, activations
  double sent_bytes = 0;       ///< of the busiest rank per step

  double idle_share() const noexcept { return 1 - compute_seconds / step_seconds; }
};

/// All layouts that fit, the fastest first. @throws ConfigError if none fits, with the least that one needs.
std::vector<Layout> plan_layouts(const LayoutQuestion& question);

/// JSON, for `parse_unit_profile`: a profile measured on one machine serves questions on another.
std::string to_json(const UnitProfile& profile);
/// @throws ConfigError with the part that does not read.
UnitProfile parse_unit_profile(const std::string& json, const std::string& origin);

}  // namespace bunchtrain::parallel
