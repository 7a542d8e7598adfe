// SPDX-License-Identifier: Apache-2.0
#pragma once
/// An NCCL and a CUDA without a GPU: the few calls that the communicator and its watchdog make, defined in
/// the test's program, which the loader prefers to the libraries.

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>

namespace bunchtrain::test {

/// What the fake libraries do and have seen. Thread-safe.
struct FakeGpu {
  std::atomic<ncclResult_t> state = ncclSuccess;  ///< of the communicator, as ncclCommGetAsyncError tells
  std::function<void()> on_abort = [] {};
  std::atomic<int> aborts = 0;
  std::atomic<int> queries_in_global_mode = 0;  ///< they would spoil a capture

  void pass(cudaEvent_t event) {
    const std::scoped_lock lock(mutex);
    passed.insert(event);
  }
  bool has_passed(cudaEvent_t event) {
    const std::scoped_lock lock(mutex);
    return passed.contains(event);
  }

  std::mutex mutex;
  std::set<cudaEvent_t> passed;
};

/// The one of the program; a test resets it.
FakeGpu& fake_gpu();
void reset_fake_gpu();

}  // namespace bunchtrain::test
