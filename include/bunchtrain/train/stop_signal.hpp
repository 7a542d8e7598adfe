// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Turns signals into a request to stop (DESIGN decision 10).

#include <array>
#include <csignal>

namespace bunchtrain::train {

/// Exit code that tells batch systems "checkpointed, run me again" (ERESTART).
inline constexpr int kExitCheckpointed = 85;
/// Exit code after Ctrl-C, saved or not.
inline constexpr int kExitInterrupted = 130;

/// Catches USR1, USR2, TERM, HUP and INT from construction to destruction; HUP and INT not where the process
/// was started with them ignored (nohup). The handlers only set a flag, but a second INT ends the process at
/// once. Only applications (`bt::run`) create one; at most one lives at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The first signal received since construction, or 0, also when none lives.
  static int received() noexcept;

 private:
  static constexpr int kCount = 5;
  std::array<struct sigaction, kCount> previous_;
};

/// While one lives, a loop looks at `Session::stop_requested` after each step, saves and leaves. At all other
/// times there is nothing to save, and `bt::run` ends the process within a second of a signal, also of one
/// that came while the loop did its last step. `Trainer::fit` has one; a hand-written loop that saves its
/// work makes one for itself.
class OrderlyStop {
 public:
  OrderlyStop();
  ~OrderlyStop();
  OrderlyStop(const OrderlyStop&) = delete;
  OrderlyStop& operator=(const OrderlyStop&) = delete;

  static bool promised() noexcept;
};

/// Thrown by `Trainer::fit` on all ranks once the run is checkpointed after a stop request, and by
/// `Session::leave_if_stopped`. Not an error: `bt::run` exits with `kExitCheckpointed`, with 0 if the program
/// itself asked for the stop, or with
/// `kExitInterrupted` after INT.
struct Interrupted {
  int signal = 0;  ///< 0: the program asked for it
};

}  // namespace bunchtrain::train
