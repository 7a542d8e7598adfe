// SPDX-License-Identifier: Apache-2.0
#include "stop_watcher.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <future>

#include "bunchtrain/train/stop_signal.hpp"

namespace bunchtrain::app {
namespace {

/// What a watcher says after `signal`, while a loop promises an orderly stop; "" if nothing for a while.
std::string said_after(int signal) {
  const train::StopSignal handlers;
  const train::OrderlyStop loop;
  std::promise<std::string> said;
  auto text = said.get_future();
  const StopWatcher watcher([&](const std::string& line) { said.set_value(line); });
  raise(signal);
  const auto patience = signal == SIGINT ? std::chrono::seconds(20) : std::chrono::seconds(1);
  return text.wait_for(patience) == std::future_status::ready ? text.get() : "";
}

TEST(StopWatcherTest, TellsWhatASecondCtrlCDoes) {
  EXPECT_THAT(said_after(SIGINT), testing::HasSubstr("Ctrl-C again ends at once"));
}

TEST(StopWatcherTest, LeavesOtherSignalsToTheLoop) {
  for (const int signal : {SIGTERM, SIGUSR1, SIGHUP}) EXPECT_EQ(said_after(signal), "") << signal;
}

}  // namespace
}  // namespace bunchtrain::app
