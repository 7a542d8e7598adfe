// SPDX-License-Identifier: Apache-2.0
#include "stop_watcher.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/train/stop_signal.hpp"

namespace bunchtrain::app {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLook{50};
constexpr milliseconds kGrace{500};  // mpirun gives its ranks about twice as long after a TERM

}  // namespace

StopWatcher::StopWatcher(std::function<void(const std::string&)> say)
    : say_(std::move(say)), thread_([this](const std::stop_token& stop) { watch(stop); }) {}

void StopWatcher::watch(const std::stop_token& stop) const {
  bool told = false;
  for (milliseconds waited{0}; !stop.stop_requested();) {
    std::this_thread::sleep_for(kLook);
    const int signal = train::StopSignal::received();
    const bool orderly = train::OrderlyStop::promised();
    if (signal == 0 || orderly) waited = milliseconds(0);
    if (signal == 0) continue;
    if (orderly) {
      if (signal == SIGINT && !std::exchange(told, true))
        say_("interrupted: finishing the step and saving; Ctrl-C again ends at once, without");
      continue;
    }
    waited += kLook;
    if (waited < kGrace || stop.stop_requested()) continue;
    say_(fmt::format(
        "stopped by {} while there was nothing to save; the same command goes on from what was saved "
        "before (--resume), if anything",
        signal_name(signal)));
    train::RunFolder::release_locks();
    std::_Exit(exit_code_after(signal));
  }
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace bunchtrain::app
