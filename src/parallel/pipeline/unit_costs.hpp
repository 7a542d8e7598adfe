// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the units of a network cost, measured.

#include <c10/core/Device.h>

#include <span>
#include <string>

#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/parallel/pipeline_partition.hpp"

namespace bunchtrain::parallel {

/// Units and skips of a partition problem, each unit as costly as any other.
void describe_units(std::span<const nn::Unit> units, PartitionProblem& problem);
/// Fills in seconds (least of three, after one that does not count) and bytes by computing and differentiating one unit after
/// another, so that no more than one unit's graph is in memory. Activations are counted as inputs and outputs of a unit. The
/// buffers of the network stay as they are. @param example inputs of one microbatch, on the network's device
void measure_units(std::span<const nn::Unit> units, const NamedTensors& example, PartitionProblem& problem);

/// Fills in what no backward needs of what units write, by computing one after another and keeping its graph alone.
/// @param outputs of the network
void find_transients(std::span<const nn::Unit> units, const NamedTensors& example,
                     std::span<const std::string> outputs, PartitionProblem& problem);

}  // namespace bunchtrain::parallel
