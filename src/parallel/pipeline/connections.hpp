// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What passes between the stages of a pipeline, and in which order it travels.

#include <span>
#include <string>
#include <vector>

#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"

namespace bunchtrain::parallel {

/// A tensor that one stage writes and another one reads, however far behind it.
struct Connection {
  std::string value;
  int from;
  int to;
};

/// Of units cut into stages. Outputs go to the last stage, where the objective is.
std::vector<Connection> connections(std::span<const nn::Unit> units, std::span<const int> begins,
                                    std::span<const std::string> outputs);

/// A tensor on its way, or its gradient on the way back.
struct Message {
  int connection;  ///< index
  int microbatch;
  bool gradient;

  auto operator<=>(const Message&) const = default;
};

/// What rank `from` sends to rank `to` in a step, in the order of the sender's actions: the order of both sides, so that
/// neither needs tags nor waits for what cannot come.
std::vector<Message> messages(const PipelineSchedule& schedule, std::span<const Connection> connections,
                              int from, int to);

}  // namespace bunchtrain::parallel
