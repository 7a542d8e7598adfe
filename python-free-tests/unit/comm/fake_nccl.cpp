// SPDX-License-Identifier: Apache-2.0
#include "fake_nccl.hpp"

#include <memory>

namespace bunchtrain::test {
namespace {
std::unique_ptr<FakeGpu>& the_gpu() {
  static auto gpu = std::make_unique<FakeGpu>();
  return gpu;
}
thread_local auto capture_mode = cudaStreamCaptureModeGlobal;
}  // namespace

FakeGpu& fake_gpu() { return *the_gpu(); }
void reset_fake_gpu() { the_gpu() = std::make_unique<FakeGpu>(); }

}  // namespace bunchtrain::test

using bunchtrain::test::fake_gpu;

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int, ncclUniqueId, int, ncclConfig_t*) {
  static int handle;
  *comm = reinterpret_cast<ncclComm_t>(&handle);
  return ncclInProgress;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  *state = fake_gpu().state;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t) {
  ++fake_gpu().aborts;
  fake_gpu().on_abort();
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t) { return ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t) { return "an error"; }
const char* ncclGetLastError(ncclComm_t) { return "of the fake"; }

cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new char);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<char*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (bunchtrain::test::capture_mode == cudaStreamCaptureModeGlobal) ++fake_gpu().queries_in_global_mode;
  return fake_gpu().has_passed(event) ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, bunchtrain::test::capture_mode);
  return cudaSuccess;
}

}  // extern "C"
