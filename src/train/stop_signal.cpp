// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/stop_signal.hpp"

#include <atomic>

namespace bunchtrain::train {
namespace {

constexpr std::array kSignals = {SIGUSR1, SIGUSR2, SIGTERM, SIGHUP, SIGINT};
std::atomic<int> g_received{0};
std::atomic<int> g_interrupts{0};
std::atomic<int> g_orderly{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

void remember(int signal) {
  int none = 0;
  g_received.compare_exchange_strong(none, signal);
  if (signal != SIGINT || g_interrupts.fetch_add(1) == 0) return;
  ::signal(SIGINT, SIG_DFL);  // whoever asks twice does not want to wait
  ::raise(SIGINT);
}

bool is_ignored_on_purpose(int signal) {
  if (signal != SIGHUP && signal != SIGINT) return false;
  struct sigaction current = {};
  return sigaction(signal, nullptr, &current) == 0 && current.sa_handler == SIG_IGN;
}

}  // namespace

StopSignal::StopSignal() {
  static_assert(kSignals.size() == kCount);
  g_received = 0;
  g_interrupts = 0;
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &previous_[i]);
    if (!is_ignored_on_purpose(kSignals[i])) sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignal::~StopSignal() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous_[i], nullptr);
  g_received = 0;  // a later session of the same process is not asked to stop
}

int StopSignal::received() noexcept { return g_received.load(); }

OrderlyStop::OrderlyStop() { ++g_orderly; }
OrderlyStop::~OrderlyStop() { --g_orderly; }

bool OrderlyStop::promised() noexcept { return g_orderly > 0; }

}  // namespace bunchtrain::train
