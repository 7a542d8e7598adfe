// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Owners of the C handles of NCCL and of the CUDA events around its operations, and the checks of their
/// return codes.

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/unique_handle.hpp"

namespace bunchtrain::comm::detail {

/// Released by abort: the orderly end is collective and belongs to `NcclCommunicator::finalize`.
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

/// True if the GPU passed the event.
inline bool has_passed(const UniqueEvent& event, std::string_view what) {
  const cudaError_t code = cudaEventQuery(event.get());
  if (code == cudaErrorNotReady) return false;
  check_cuda(code, what);
  return true;
}

}  // namespace bunchtrain::comm::detail
