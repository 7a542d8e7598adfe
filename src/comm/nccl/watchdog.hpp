// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Aborts an NCCL communicator whose operations fail or hang, so that a host that waits for the GPU comes
/// back.

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
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
  UniqueEvent done = create_event();
  std::atomic<bool> launched = false;
  std::chrono::steady_clock::time_point deadline;
};

/// Looks at the launched operations a few times a second, in a thread of its own that calls CUDA and NCCL but
/// never MPI. Thread-safe.
class Watchdog {
 public:
  Watchdog(NcclCommunicator& communicator, int device);

  void watch(std::shared_ptr<NcclOperation> operation);
  bool timed_out() const noexcept { return timed_out_; }

 private:
  void run(const std::stop_token& stop, int device);
  void look();

  NcclCommunicator& communicator_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<NcclOperation>> operations_;  // in stream order: the first one is the oldest
  std::atomic<bool> timed_out_ = false;
  std::jthread thread_;  // last: joined before the state above dies
};

}  // namespace bunchtrain::comm::detail
