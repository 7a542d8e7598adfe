// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/stop_signal.hpp"

#include <atomic>

namespace bunchtrain::train {
namespace {

constexpr int kSignals[3] = {SIGUSR1, SIGUSR2, SIGTERM};
std::atomic<int> g_received{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

void remember(int signal) { g_received.store(signal, std::memory_order_relaxed); }

}  // namespace

StopSignal::StopSignal() {
  g_received = 0;
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &previous_[i]);
}

StopSignal::~StopSignal() {
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &previous_[i], nullptr);
}

int StopSignal::received() noexcept { return g_received.load(std::memory_order_relaxed); }

}  // namespace bunchtrain::train
