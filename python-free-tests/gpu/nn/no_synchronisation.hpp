// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Turns every wait of the host for the GPU that LibTorch knows of into an error, for a scope.

#include <c10/cuda/CUDAFunctions.h>

namespace bunchtrain::test {

class NoSynchronisation {
 public:
  NoSynchronisation() { c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_ERROR); }
  ~NoSynchronisation() {
    c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
  }
  NoSynchronisation(const NoSynchronisation&) = delete;
  NoSynchronisation& operator=(const NoSynchronisation&) = delete;
};

}  // namespace bunchtrain::test
