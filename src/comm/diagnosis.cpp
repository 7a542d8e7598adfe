// SPDX-License-Identifier: Apache-2.0
#include "diagnosis.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/mpi/detail/rank_ranges.hpp"

namespace bunchtrain::comm::detail {
namespace {

/// Ranks that are in the same state share a line.
class RankGroups {
 public:
  void add(int rank, const std::string& state) {
    const auto found = std::ranges::find(groups_, state, &Group::state);
    if (found != groups_.end()) {
      found->ranks.push_back(rank);
    } else {
      groups_.push_back({state, {rank}});
    }
  }
  std::string lines() const {
    std::string text;
    for (const auto& [state, ranks] : groups_)
      text += fmt::format("\n  {}: {}", mpi::rank_ranges(ranks), state);
    return text;
  }

 private:
  struct Group {
    std::string state;
    std::vector<int> ranks;
  };
  std::vector<Group> groups_;
};

std::string describe(const PeerState& peer) {
  std::string text = (peer.gave_up ? "gave up in " : "in ") + describe(peer.call);
  if (!peer.communicator.empty()) text += fmt::format(" on communicator '{}'", peer.communicator);
  return text;
}

std::string conclusion(const Timeout& timeout, const std::vector<int>& silent) {
  if (!silent.empty()) {
    return fmt::format("Silent: {} (what lives is busy with something else than this communicator)",
                       timeout.describe_ranks(silent));
  }
  std::vector<int> reading;
  for (std::size_t rank = 0; rank < timeout.peers.size(); ++rank) {
    if (timeout.peers[rank].heard && timeout.peers[rank].call.operation == Operation::reading)
      reading.push_back(static_cast<int>(rank));
  }
  if (!reading.empty())
    return fmt::format("No rank is silent, but slow storage: {} still waiting for data",
                       mpi::rank_ranges(reading));
  const auto elsewhere = [&](const PeerState& peer) {
    return peer.heard && !(peer.call == timeout.call && peer.communicator.empty());
  };
  if (!timeout.call.is_point_to_point() && std::ranges::any_of(timeout.peers, elsewhere)) {
    return "No rank is silent, but they are in different operations: the common order was left";
  }
  return "All ranks answer: the operation is slower than the timeout (CommunicatorOptions::timeout), or its "
         "partner did not issue it";
}

}  // namespace

std::string describe_mismatch(std::string_view communicator, const std::vector<Call>& calls) {
  RankGroups groups;
  for (std::size_t rank = 0; rank < calls.size(); ++rank)
    groups.add(static_cast<int>(rank), describe(calls[rank]));
  return fmt::format(
      "communicator '{}': the ranks issued different operations:{}\nAll ranks must issue the same operations "
      "in the same order: look for a branch or a loop length that depends on the rank",
      communicator, groups.lines());
}

std::string describe_timeout(const Timeout& timeout) {
  std::vector<int> silent;
  RankGroups groups;
  for (std::size_t index = 0; index < timeout.peers.size(); ++index) {
    const int rank = static_cast<int>(index);
    const PeerState& peer = timeout.peers[index];
    if (rank == timeout.rank) continue;
    if (!peer.heard) {
      silent.push_back(rank);
    } else {
      groups.add(rank, describe(peer));
    }
  }
  return fmt::format(
      "communicator '{}', rank {}: {} is not complete after {} s{}. {}{}\nLast operations of rank {}:\n{}",
      timeout.communicator, timeout.rank, describe(timeout.call), timeout.timeout.count() / 1000.0,
      timeout.phase.empty() ? "" : fmt::format(" (while {})", timeout.phase), conclusion(timeout, silent),
      groups.lines(), timeout.rank, timeout.last_operations);
}

}  // namespace bunchtrain::comm::detail
