// SPDX-License-Identifier: Apache-2.0
#include "nccl_communicator.hpp"

#include <fmt/format.h>
#include <sysexits.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "bunchtrain/core/detail/call_limit.hpp"

namespace bunchtrain::comm::detail {
namespace {

constexpr std::chrono::milliseconds kServeEvery{20};

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

NcclLimits limits_of(const CommunicatorOptions& options) {
  NcclLimits limits{.accept = options.timeout, .abort = options.abort_timeout, .on_hang = options.on_hang};
  if (limits.on_hang) return limits;
  limits.on_hang = [logger = options.logger](const std::string& reason) {
    logger.error(reason);
    std::_Exit(EX_TEMPFAIL);
  };
  return limits;
}

NcclCommunicator::NcclCommunicator(const mpi::Comm& comm, NcclLimits limits)
    : limits_(std::move(limits)), issued_("starting NCCL") {
  const ncclUniqueId id = share_identifier(comm);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t handle = nullptr;
  const ncclResult_t code = ncclCommInitRankConfig(&handle, comm.size(), id, comm.rank(), &config);
  comm_.reset(handle);
  if (!is_accepted(code)) refuse(issued_, code);
  settle();
}

NcclCommunicator::~NcclCommunicator() { abort("the NCCL communicator was given up"); }

void NcclCommunicator::issue(std::string what, const std::function<ncclResult_t(ncclComm_t)>& call) {
  settle();
  const std::scoped_lock lock(mutex_);
  if (!comm_) throw CommError(abort_reason_);
  issued_ = std::move(what);
  const ncclResult_t code = call(comm_.get());
  if (!is_accepted(code)) refuse(issued_, code);
}

bool NcclCommunicator::is_settled() {
  const std::scoped_lock lock(mutex_);
  if (!comm_) throw CommError(abort_reason_);
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = ncclCommGetAsyncError(comm_.get(), &state);
  if (code != ncclSuccess) refuse(issued_, code);
  if (!is_accepted(state)) refuse(issued_, state);
  return state == ncclSuccess;
}

/// A peer that failed before it came here is heard of by the host's channel, long before the limit.
void NcclCommunicator::settle() {
  const auto begin = std::chrono::steady_clock::now();
  auto served = begin;
  while (!is_settled()) {
    const auto now = std::chrono::steady_clock::now();
    const auto waited = now - begin;
    if (serve_ && now - served >= kServeEvery) {
      served = now;
      serve_();
    }
    if (waited > limits_.accept) {
      auto reason = fmt::format("{}: NCCL did not accept it within {} s; a peer is missing", issued_,
                                static_cast<double>(limits_.accept.count()) / 1000.0);
      abort(reason);
      throw CommError(std::move(reason));
    }
    rest(waited);
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

void NcclCommunicator::expect_graphs() {
  const std::scoped_lock lock(mutex_);
  graphs_ = true;
}

void NcclCommunicator::abort(std::string reason) noexcept {
  UniqueNcclComm given_up;
  {
    const std::scoped_lock lock(mutex_);
    if (!comm_) return;
    abort_reason_ = std::move(reason);
    given_up = std::move(comm_);
    if (graphs_) {
      giving_up_ = std::jthread([this, comm = std::move(given_up)]() mutable { give_up(std::move(comm)); });
      return;
    }
  }
  give_up(std::move(given_up));
}

/// Without the lock: it may take its time, and who polls wants the reason.
void NcclCommunicator::give_up(UniqueNcclComm given_up) noexcept {
  const CallLimit limit(limits_.abort, [&] {
    limits_.on_hang(fmt::format("{}; then NCCL did not give up within {} s, and the process ends",
                                abort_reason_, static_cast<double>(limits_.abort.count()) / 1000.0));
  });
  given_up.reset();
}

void NcclCommunicator::finalize() {
  issue("ending NCCL", [](ncclComm_t comm) { return ncclCommFinalize(comm); });
  settle();
  const std::scoped_lock lock(mutex_);
  abort_reason_ = "the NCCL communicator was closed before";
  const ncclResult_t code = ncclCommDestroy(comm_.release());
  if (code != ncclSuccess) throw CommError(std::string("ending NCCL failed: ") + ncclGetErrorString(code));
}

}  // namespace bunchtrain::comm::detail
