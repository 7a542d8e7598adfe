// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Ends a process that was asked to stop while it has nothing to save.

#include <functional>
#include <string>
#include <thread>

namespace bunchtrain::app {

/// A thread that looks for signals from construction to destruction. Where no loop promised an orderly stop
/// (`train::OrderlyStop`: MPI's start, opening of data, evaluation), the process gets half a second to come
/// to its end and is then ended with the exit code of the signal, whatever it is doing. Of the first Ctrl-C
/// it tells what follows.
class StopWatcher {
 public:
  /// `say` prints a line; called on the watcher's thread.
  explicit StopWatcher(std::function<void(const std::string&)> say);

 private:
  void watch(const std::stop_token& stop) const;

  std::function<void(const std::string&)> say_;
  std::jthread thread_;  // last: joined before what it uses dies
};

/// "SIGUSR1".
std::string signal_name(int signal);

}  // namespace bunchtrain::app
