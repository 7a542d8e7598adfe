// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where a network is cut, and by which schedule its stages work.

#include <span>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"

namespace bunchtrain::parallel {

struct PipelinePlan {
  std::vector<int> begins;
  PipelineSchedule schedule;
};

/// Collective over the mesh: measures on its first rank if `options.example` asks for it. @throws ConfigError
PipelinePlan create_plan(std::span<const nn::Unit> units, const comm::Communicator& world, int ranks,
                         c10::Device device, const PipelineOptions& options);

/// "1f1b of 2 stages on 2 ranks, 4 microbatches; stage 0 on rank 0: embed, down; stage 1 on rank 1: up"
std::string describe(const PipelinePlan& plan, std::span<const nn::Unit> units);

}  // namespace bunchtrain::parallel
