// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One non-blocking NCCL communicator that can be given up from another thread.

#include <nccl.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "bunchtrain/mpi/comm.hpp"
#include "handles.hpp"

namespace bunchtrain::comm::detail {

/// Non-blocking: a call returns while NCCL still works on it, so that no thread is ever stuck inside and
/// `abort` is safe at any time. Thread-safe: one thread issues, a watchdog may ask for errors and abort. The
/// lock is held for single calls only.
class NcclCommunicator {
 public:
  /// Collective: rank 0 makes the identifier, `comm` broadcasts it. The current CUDA device is used.
  NcclCommunicator(const mpi::Comm& comm, std::chrono::milliseconds timeout);

  /// Hands work to NCCL and returns when it is enqueued. @throws CommError if NCCL refuses, or after an abort
  void issue(std::string_view what, const std::function<ncclResult_t(ncclComm_t)>& call);
  /// What NCCL reports about work that it accepted; empty while all is well.
  std::string asynchronous_error();
  /// Ends all operations on the GPU, at once. The first reason is kept. Not collective.
  void abort(std::string reason) noexcept;
  /// Collective: waits for outstanding work and frees the communicator.
  void finalize();

 private:
  ncclResult_t state_of(std::string_view what);
  void settle(std::string_view what);
  [[noreturn]] void refuse(std::string_view what, ncclResult_t code);

  std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  UniqueNcclComm comm_;  // null after an abort
  std::string abort_reason_;
};

}  // namespace bunchtrain::comm::detail
