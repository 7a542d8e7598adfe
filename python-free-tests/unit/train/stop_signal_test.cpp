// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/stop_signal.hpp"

#include <gtest/gtest.h>

namespace bunchtrain::train {
namespace {

TEST(StopSignalTest, RemembersEachOfItsSignals) {
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM}) {
    const StopSignal guard;
    EXPECT_EQ(StopSignal::received(), 0);
    std::raise(signal);
    EXPECT_EQ(StopSignal::received(), signal);
  }
}

TEST(StopSignalTest, GivesTheHandlersBack) {
  struct sigaction before = {}, after = {};
  sigaction(SIGUSR1, nullptr, &before);
  { const StopSignal guard; }
  sigaction(SIGUSR1, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

}  // namespace
}  // namespace bunchtrain::train
