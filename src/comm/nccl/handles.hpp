// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Owners of the C handles of NCCL and of the CUDA events around its operations, and the
/// checks of their return codes.

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <string>
#include <string_view>

#include "bunchtrain/core/detail/unique_handle.hpp"
#include "bunchtrain/core/error.hpp"
#include "call.hpp"

namespace bunchtrain::comm::detail {

/// Released by abort: the orderly end is collective and belongs to `NcclCommunicator::finalize`. An abort may
/// itself hang: `NcclCommunicator::abort` puts a limit on it.
struct NcclCommTraits {
  using Handle = ncclComm_t;
  static Handle null() noexcept { return nullptr; }
  static void close(Handle handle) noexcept { ncclCommAbort(handle); }
};
using UniqueNcclComm = UniqueHandle<NcclCommTraits>;

struct EventTraits {
  using Handle = cudaEvent_t;
  static Handle null() noexcept { return nullptr; }
  static void close(Handle handle) noexcept { cudaEventDestroy(handle); }
};
using UniqueEvent = UniqueHandle<EventTraits>;

inline void check_cuda(cudaError_t code, std::string_view what) {
  if (code == cudaSuccess) return;
  throw CommError(std::string(what) + " failed: " + cudaGetErrorString(code));
}

inline UniqueEvent create_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  return UniqueEvent(event);
}

/// Whether what is launched on the stream becomes part of a graph instead of running.
inline bool is_capturing(cudaStream_t stream) {
  auto status = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

/// Lets this thread ask about events while it captures a stream: else that is an error, which ends the capture.
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

/// True if the GPU passed the event around `call`.
inline bool has_passed(const UniqueEvent& event, const Call& call) {
  const RelaxedCapture relaxed;
  const cudaError_t code = cudaEventQuery(event.get());
  if (code == cudaErrorNotReady) return false;
  if (code != cudaSuccess) check_cuda(code, describe(call));
  return true;
}

/// Whether NCCL took a call: of a non-blocking communicator it may still be at work on it.
inline bool is_accepted(ncclResult_t result) noexcept {
  return result == ncclSuccess || result == ncclInProgress;
}

/// Calls that NCCL issues together. A group that a thrown error left open would swallow every later operation
/// of this thread.
class NcclGroup {
 public:
  NcclGroup() = default;
  ~NcclGroup() {
    if (open_) ncclGroupEnd();
  }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  ncclResult_t begun() const noexcept { return begun_; }
  ncclResult_t end() noexcept {
    open_ = false;
    return ncclGroupEnd();
  }

 private:
  ncclResult_t begun_ = ncclGroupStart();
  bool open_ = true;
};

}  // namespace bunchtrain::comm::detail
