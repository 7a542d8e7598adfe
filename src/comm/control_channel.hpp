// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the ranks of a communicator talk about their operations: comparison, barrier, and who
/// is where after a timeout.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "call.hpp"

namespace bunchtrain::comm::detail {

/// What one rank knows about another.
struct PeerState {
  bool heard = false;    ///< it spoke since this rank last asked, or it gave up before
  bool gave_up = false;  ///< it timed out or failed: it will not take part any more
  Call call;             ///< the operation it was in
  std::string reason;    ///< why it failed, if it said so
};

/// A comparison in flight: every rank's call, in rank order, once complete.
class CallExchange : public InFlight {
 public:
  virtual const std::vector<Call>& calls() const = 0;
};

/// Small messages beside the tensors, on a communicator of its own. Every wait is bounded. With a world of
/// one it does nothing. Used by the thread that initialised MPI.
///
/// The only implementation is in `mpi/`: NCCL communicators use it as well.
class ControlChannel {
 public:
  /// Collective.
  explicit ControlChannel(const mpi::Comm& comm);
  ~ControlChannel();
  ControlChannel(const ControlChannel&) = delete;
  ControlChannel& operator=(const ControlChannel&) = delete;

  /// Collective: starts to exchange the calls of all ranks.
  std::unique_ptr<CallExchange> start_exchange(const Call& mine);
  /// Collective.
  std::unique_ptr<InFlight> start_barrier();

  /// Tells `peer` what is being sent to it, so that it can compare (checked mode).
  void announce_send(const Call& mine, int peer);
  /// Starts to wait for the announcement of `peer`.
  std::unique_ptr<CallExchange> start_hear_send(int peer, int tag);

  /// Answers ranks that ask where this one is (it is in `mine`), and notes who gave up. Cheap; never waits.
  void serve(const Call& mine);
  /// Ranks that gave up, as far as is known without asking.
  std::vector<int> ranks_that_gave_up() const;
  const std::vector<PeerState>& peers() const;
  /// Asks all ranks where they are and collects the answers for at most `window`. They take the question as
  /// notice that this rank gave up in `mine`.
  const std::vector<PeerState>& ask_all(const Call& mine, std::chrono::milliseconds window);
  /// Tells all ranks that this one failed. Does not wait for them.
  void tell_failed(const Call& mine, std::string_view reason) noexcept;

  /// Collective.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null in a world of one
};

}  // namespace bunchtrain::comm::detail
