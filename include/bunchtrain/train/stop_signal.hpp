// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Turns USR1, USR2 and TERM into a request to stop after the current step (DESIGN decision 10).

#include <csignal>

namespace bunchtrain::train {

/// Exit code that tells batch systems "checkpointed, run me again" (ERESTART).
inline constexpr int kExitCheckpointed = 85;

/// Catches USR1, USR2 and TERM from construction to destruction; the handlers only set a flag. Only
/// applications
/// (`bt::run`) create one; at most one lives at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The signal received since construction, or 0.
  static int received() noexcept;

 private:
  struct sigaction previous_[3];
};

/// Thrown by `Trainer::fit` on all ranks once the run is checkpointed after a stop request. Not an error:
/// `bt::run` exits with `kExitCheckpointed`.
struct Interrupted {
  int signal = 0;
};

}  // namespace bunchtrain::train
