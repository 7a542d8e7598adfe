// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Backward in the thread that asks for it, on a GPU too.

#include <c10/core/AutogradState.h>

namespace bunchtrain::parallel {

/// While it lives, autograd starts no thread of its own for this thread's backward: gradient hooks and batch
/// norm over ranks may communicate (MPI belongs to one thread), and buckets start while backward goes on.
/// What `torch.autograd.set_multithreading_enabled(False)` does; with one GPU per process nothing is lost.
/// Destroy it on the thread that made it.
class BackwardHere {
 public:
  BackwardHere() { state().set_multithreading_enabled(false); }
  ~BackwardHere() { state().set_multithreading_enabled(before_); }
  BackwardHere(const BackwardHere&) = delete;
  BackwardHere& operator=(const BackwardHere&) = delete;

 private:
  static c10::AutogradState& state() { return c10::AutogradState::get_tls_state(); }
  bool before_ = state().get_multithreading_enabled();
};

}  // namespace bunchtrain::parallel
