// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One non-blocking NCCL communicator that can be given up from another thread.

#include <nccl.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "handles.hpp"

namespace bunchtrain::comm::detail {

/// How long NCCL may take.
struct NcclLimits {
  std::chrono::milliseconds accept;  ///< for taking an operation on, which may need a connection to a peer
  std::chrono::milliseconds abort;   ///< for giving up
  std::function<void(const std::string&)> on_hang;  ///< it did not even give up: ends the process
};
/// Without a listener the reason is logged and the process ends with 75 (try again).
NcclLimits limits_of(const CommunicatorOptions& options);

/// Non-blocking: a call returns while NCCL still works on it, so that no thread is ever stuck inside and
/// `abort` is safe at any time. A blocking one would save NCCL the thread that it starts for each group
/// (2.28.9, ncclGroupEndInternal), but its first collectives wait inside for their peers, and the only way
/// out, ncclCommAbort from another thread, frees the communicator under that call. So the host does not wait
/// for that thread either: `issue` returns at once, and the next call settles it.
///
/// Thread-safe: one thread issues, a watchdog may ask for errors and abort. The lock is
/// held for single calls only.
class NcclCommunicator {
 public:
  /// Collective: rank 0 makes the identifier, `comm` broadcasts it. The current CUDA device is used.
  NcclCommunicator(const mpi::Comm& comm, NcclLimits limits);
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// Called now and then while `settle` waits; what it throws ends the wait.
  void while_waiting(std::function<void()> serve) { serve_ = std::move(serve); }
  /// Hands work to NCCL, once it took on what it was given before; it is enqueued when `is_settled`.
  /// @throws CommError if NCCL refuses, or after an abort
  void issue(std::string what, const std::function<ncclResult_t(ncclComm_t)>& call);
  /// Whether all that was issued is enqueued on its stream. @throws CommError as `issue`
  bool is_settled();
  /// Waits for it. @throws CommError as `issue`, or if a peer is missing
  void settle();
  /// What NCCL reports about work that it accepted; empty while all is well.
  std::string asynchronous_error();
  /// From here on graphs may hold operations of it. NCCL does not give up before they have ended (2.30, commDestroySync),
  /// and it may be the aborting thread that ends them: `abort` leaves the rest to a thread of its own then.
  void expect_graphs();
  /// Ends all operations on the GPU, at once. The first reason is kept. Not collective.
  void abort(std::string reason) noexcept;
  /// Collective: waits for outstanding work and frees the communicator.
  void finalize();

 private:
  void give_up(UniqueNcclComm given_up) noexcept;
  [[noreturn]] void refuse(std::string_view what, ncclResult_t code);

  NcclLimits limits_;
  std::function<void()> serve_;
  std::string issued_;  // what NCCL was given last
  std::mutex mutex_;
  UniqueNcclComm comm_;  // null after an abort
  std::string abort_reason_;
  bool graphs_ = false;
  std::jthread giving_up_;  // last: joined before the state above dies
};

}  // namespace bunchtrain::comm::detail
