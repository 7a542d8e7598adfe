// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How ranks talk about their operations: comparison, barrier, who is where after a timeout, and who failed. One
/// for a communicator and all parts of it.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "call.hpp"

namespace bunchtrain::comm::detail {

/// What one rank knows about another.
struct PeerState {
  bool heard = false;             ///< it spoke since this rank last asked, or it gave up before
  bool gave_up = false;           ///< it timed out or failed: it will not take part any more
  Call call;                      ///< the operation it was in
  std::string communicator = {};  ///< of that operation, if it is another one than that of the channel
};

/// A rank that failed, in any of the communicators that share a channel.
struct Failure {
  int rank;  ///< of the whole
  std::string reason;
};

/// A comparison in flight: every rank's call, in rank order, once complete.
class CallExchange : public InFlight {
 public:
  virtual const std::vector<Call>& calls() const = 0;
};

/// Small messages beside the tensors. Every wait is bounded. With a world of one it does nothing. Used by the
/// thread that initialised MPI.
///
/// A part of a communicator talks by the channel of the whole: whatever a rank waits in, it answers all that ask for
/// it, and a failure along one axis of a mesh ends the waiting along all the others.
///
/// The only implementation is in `mpi/`: NCCL communicators use it as well.
class ControlChannel {
 public:
  /// Collective. `comm` must live as long.
  ControlChannel(const mpi::Comm& comm, std::string name);
  /// Collective over `part`, which are some of the ranks of `whole`.
  ControlChannel(const ControlChannel& whole, const mpi::Comm& part, std::string name);
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
  /// The first that failed in any communicator of the channel, as far as is known without asking.
  const std::optional<Failure>& failure() const;
  /// Ranks that gave up here, as far as is known without asking.
  std::vector<int> ranks_that_gave_up() const;
  const std::vector<PeerState>& peers() const;
  /// Asks all ranks where they are and collects the answers for at most `window`. They take the question as
  /// notice that this rank gave up in `mine`.
  const std::vector<PeerState>& ask_all(const Call& mine, std::chrono::milliseconds window);
  /// Tells all ranks of the whole that this one failed. Does not wait for them.
  void tell_failed(const Call& mine, std::string_view reason) noexcept;

  /// Collective over the whole once its last part is closed.
  void close();

 private:
  struct Wire;
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null in a world of one
};

}  // namespace bunchtrain::comm::detail
