// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Shows how far a training is: one redrawn bar line on a terminal, a line every few seconds in a log,
/// nothing on other ranks.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bunchtrain/report/epoch_row.hpp"

namespace bunchtrain::report {

/// Where progress is shown and in which manner.
struct ProgressOutput {
  /// Receives finished text, escape sequences included. Empty: standard output, flushed.
  std::function<void(std::string_view)> write = {};
  bool is_terminal = false;
  int width = 80;  ///< columns of the terminal; lines of a log are not cut
  bool unicode = true;

  /// Standard output as it is: sees through mpirun, which gives its ranks a pseudo-terminal even when its own
  /// output is a file.
  static ProgressOutput standard();
};

struct ProgressOptions {
  bool enabled = true;  ///< false on every rank but 0
  std::int64_t total_steps = 0;
  std::int64_t first_step = 0;  ///< where a resumed run begins; the ETA counts from here
  std::int64_t steps_per_epoch = 0;
  std::int64_t epochs = 0;
  std::string samples = "jets";                    ///< what a sample is called: "jets/s"
  std::chrono::milliseconds redraw_interval{100};  ///< on a terminal
  std::chrono::milliseconds log_interval{10'000};  ///< in a log
  /// The clock, replaceable for tests. Empty: the steady clock.
  std::function<std::chrono::steady_clock::time_point()> now = {};
};

/// Where a training stands after a step.
struct StepStatus {
  std::int64_t step = 0;  ///< finished optimizer steps since the beginning
  double loss = 0;        ///< a running mean looks calmer than the last value
  double samples_per_second = 0;
};

/// The progress of one run. Cheap to call after every step: text is made only when it
/// is shown. Not thread-safe.
class Progress {
 public:
  explicit Progress(ProgressOptions options, ProgressOutput output = ProgressOutput::standard());
  /// Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const StepStatus& status);
  /// Shows that something besides training steps is going on: "validating", 12 of 40 batches.
  void update_phase(std::string_view phase, std::int64_t done, std::int64_t total);
  /// Prints the epoch's line, which stays.
  void finish_epoch(const EpochRow& row);
  /// Prints a line that stays, without breaking the bar: send log records through this.
  void note(std::string_view line);
  /// Removes the bar. Further updates show nothing.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// "epoch  3/20  loss 0.2134  valid 0.2011  accuracy 0.9312  auc 0.9823  lr 3.20e-03  12.4k jets/s  0:41".
std::string format_epoch_line(const EpochRow& row, std::string_view samples);

}  // namespace bunchtrain::report
