// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Aborts an NCCL communicator whose operations fail or hang, so that a host that
/// waits for the GPU comes back.

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "backend.hpp"
#include "handles.hpp"
#include "nccl_communicator.hpp"

namespace bunchtrain::comm::detail {

/// An operation on the stream of the communicator. Shared by its Work and the watchdog.
struct NcclOperation {
  Call call;
  Buffers buffers;
  UniqueEvent ready = create_event();  ///< what the operation waits for: the caller's stream at its issue
  UniqueEvent done = create_event();   ///< recorded once `launched`
  bool captured = false;               ///< part of a graph: its events say nothing about when it runs
  bool issued = false;                 ///< given to NCCL; for the issuing thread
  std::atomic<bool> launched = false;  ///< enqueued on the stream
  std::atomic<bool> begun = false;     ///< seen to be the one at which the GPU is
};

/// Looks at the launched operations a few times a second, in a thread of its own that calls CUDA and NCCL but
/// never MPI. An operation has `timeout` from when it was first seen with nothing before it on the GPU: the
/// host may be far ahead. Thread-safe.
class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;

  Watchdog(NcclCommunicator& communicator, int device, std::chrono::milliseconds timeout);

  /// Captured operations are not watched.
  void watch(std::shared_ptr<NcclOperation> operation);
  bool timed_out() const noexcept { return timed_out_; }

 private:
  void run(const std::stop_token& stop, int device);
  void look();
  /// The first operation that is not done, or null.
  std::shared_ptr<NcclOperation> oldest();

  NcclCommunicator& communicator_;
  std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<NcclOperation>> operations_;  // in stream order
  std::optional<Clock::time_point> deadline_;              // of the oldest one, once it has begun
  std::atomic<bool> timed_out_ = false;
  std::jthread thread_;  // last: joined before the state above dies
};

}  // namespace bunchtrain::comm::detail
