// SPDX-License-Identifier: Apache-2.0
#include "nccl_communicator.hpp"

#include <fmt/format.h>

#include <cstring>
#include <thread>

namespace bunchtrain::comm::detail {
namespace {

/// Rank 0's identifier on every rank. If rank 0 cannot make one, all ranks hear why instead of waiting.
ncclUniqueId share_identifier(const mpi::Comm& comm) {
  ncclUniqueId id{};
  std::string bytes;
  if (comm.rank() == 0) {
    const ncclResult_t code = ncclGetUniqueId(&id);
    bytes = code == ncclSuccess ? std::string(id.internal, sizeof(id.internal)) : ncclGetErrorString(code);
  }
  bytes = comm.broadcast(std::move(bytes));
  if (bytes.size() != sizeof(id.internal)) throw CommError("rank 0 could not start NCCL: " + bytes);
  std::memcpy(id.internal, bytes.data(), sizeof(id.internal));
  return id;
}

}  // namespace

NcclCommunicator::NcclCommunicator(const mpi::Comm& comm, std::chrono::milliseconds timeout)
    : timeout_(timeout) {
  const ncclUniqueId id = share_identifier(comm);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t handle = nullptr;
  const ncclResult_t code = ncclCommInitRankConfig(&handle, comm.size(), id, comm.rank(), &config);
  comm_.reset(handle);
  if (code != ncclSuccess && code != ncclInProgress) refuse("starting NCCL", code);
  settle("starting NCCL");
}

void NcclCommunicator::issue(std::string_view what, const std::function<ncclResult_t(ncclComm_t)>& call) {
  {
    const std::scoped_lock lock(mutex_);
    if (!comm_) throw CommError(abort_reason_);
    const ncclResult_t code = call(comm_.get());
    if (!is_accepted(code)) refuse(what, code);
  }
  settle(what);
}

ncclResult_t NcclCommunicator::state_of(std::string_view what) {
  const std::scoped_lock lock(mutex_);
  if (!comm_) throw CommError(abort_reason_);
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = ncclCommGetAsyncError(comm_.get(), &state);
  if (code != ncclSuccess) refuse(what, code);
  if (!is_accepted(state)) refuse(what, state);
  return state;
}

void NcclCommunicator::settle(std::string_view what) {
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  while (state_of(what) == ncclInProgress) {
    if (std::chrono::steady_clock::now() > deadline) {
      auto reason = fmt::format("{}: NCCL did not accept it within {} s; a peer is missing", what,
                                timeout_.count() / 1000.0);
      abort(reason);
      throw CommError(std::move(reason));
    }
    std::this_thread::yield();
  }
}

void NcclCommunicator::refuse(std::string_view what, ncclResult_t code) {
  throw CommError(
      fmt::format("{} failed: {} ({})", what, ncclGetErrorString(code), ncclGetLastError(comm_.get())));
}

std::string NcclCommunicator::asynchronous_error() {
  const std::scoped_lock lock(mutex_);
  if (!comm_) return abort_reason_;
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = ncclCommGetAsyncError(comm_.get(), &state);
  if (code != ncclSuccess) state = code;
  if (is_accepted(state)) return {};
  return fmt::format("NCCL reports: {} ({})", ncclGetErrorString(state), ncclGetLastError(comm_.get()));
}

void NcclCommunicator::abort(std::string reason) noexcept {
  UniqueNcclComm given_up;  // aborted without the lock: it may take its time, and who polls wants the reason
  const std::scoped_lock lock(mutex_);
  if (!comm_) return;
  abort_reason_ = std::move(reason);
  given_up = std::move(comm_);
}

void NcclCommunicator::finalize() {
  issue("ending NCCL", [](ncclComm_t comm) { return ncclCommFinalize(comm); });
  const std::scoped_lock lock(mutex_);
  abort_reason_ = "the NCCL communicator was closed before";
  const ncclResult_t code = ncclCommDestroy(comm_.release());
  if (code != ncclSuccess) throw CommError(std::string("ending NCCL failed: ") + ncclGetErrorString(code));
}

}  // namespace bunchtrain::comm::detail
