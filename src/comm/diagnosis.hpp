// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The texts of what goes wrong between ranks.

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/mpi/detail/rank_ranges.hpp"
#include "call.hpp"
#include "control_channel.hpp"

namespace bunchtrain::comm::detail {

/// Every rank's call, grouped: the ranks did not issue the same operation.
std::string describe_mismatch(std::string_view communicator, const std::vector<Call>& calls);

/// An operation that did not complete in time: who is silent, where the others are.
struct Timeout {
  std::string_view communicator;
  int rank;
  Call call;
  std::chrono::milliseconds timeout;
  const std::vector<PeerState>& peers;
  std::string last_operations;
  std::string phase = {};  ///< of the job
  /// Names ranks with what is known of their processes.
  std::function<std::string(std::span<const int>)> describe_ranks = mpi::rank_ranges;
};
std::string describe_timeout(const Timeout& timeout);

}  // namespace bunchtrain::comm::detail
