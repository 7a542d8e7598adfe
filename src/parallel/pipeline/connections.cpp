// SPDX-License-Identifier: Apache-2.0
#include "connections.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace bunchtrain::parallel {

std::vector<Connection> connections(std::span<const nn::Unit> units, std::span<const int> begins,
                                    std::span<const std::string> outputs) {
  std::vector<Connection> found;
  std::map<std::string, int> writers;  // stage by tensor
  std::set<std::pair<std::string, int>> known;
  const auto add = [&](const std::string& value, int to) {
    const auto writer = writers.find(value);
    if (writer == writers.end() || writer->second == to || !known.insert({value, to}).second) return;
    found.push_back({.value = value, .from = writer->second, .to = to});
  };
  const int stages = static_cast<int>(begins.size()) - 1;
  for (int stage = 0; stage < stages; ++stage) {
    for (int i = begins[stage]; i < begins[stage + 1]; ++i) {
      for (const std::string& read : units[i].reads) add(read, stage);
      for (const std::string& written : units[i].writes) writers[written] = stage;
    }
  }
  for (const std::string& output : outputs) add(output, stages - 1);
  return found;
}

std::vector<Message> messages(const PipelineSchedule& schedule, std::span<const Connection> connections,
                              int from, int to) {
  std::vector<Message> order;
  for (const PipelineAction& action : schedule.ranks[from]) {
    const bool forward = action.work == PipelineWork::forward;
    if (action.work == PipelineWork::weight_gradient) continue;
    for (std::size_t i = 0; i < connections.size(); ++i) {
      const int here = forward ? connections[i].from : connections[i].to;
      const int there = forward ? connections[i].to : connections[i].from;
      if (here == action.stage && schedule.rank_of(there) == to && from != to)
        order.push_back(
            {.connection = static_cast<int>(i), .microbatch = action.microbatch, .gradient = !forward});
    }
  }
  return order;
}

}  // namespace bunchtrain::parallel
