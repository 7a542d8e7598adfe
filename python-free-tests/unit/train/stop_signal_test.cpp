// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/stop_signal.hpp"

#include <gtest/gtest.h>

namespace bunchtrain::train {
namespace {

TEST(StopSignalTest, RemembersEachOfItsSignals) {
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGHUP, SIGINT}) {
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

TEST(StopSignalTest, IsForgottenWithItsEnd) {
  {
    const StopSignal guard;
    std::raise(SIGUSR1);
  }
  EXPECT_EQ(StopSignal::received(), 0);
}

TEST(StopSignalTest, TheFirstSignalCounts) {
  const StopSignal guard;
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  EXPECT_EQ(StopSignal::received(), SIGUSR1);
}

TEST(StopSignalDeathTest, ASecondCtrlCEndsAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const StopSignal guard;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignalTest, WhatWasIgnoredStaysIgnored) {
  for (const int signal : {SIGHUP, SIGINT}) {
    const auto before = std::signal(signal, SIG_IGN);
    {
      const StopSignal guard;
      std::raise(signal);
      EXPECT_EQ(StopSignal::received(), 0);
    }
    std::signal(signal, before);
  }
}

TEST(StopSignalTest, LoopsPromiseAnOrderlyStopWhileTheyRun) {
  const StopSignal guard;
  EXPECT_FALSE(OrderlyStop::promised());
  {
    const OrderlyStop orderly;
    EXPECT_TRUE(OrderlyStop::promised());
    std::raise(SIGUSR1);
  }
  EXPECT_EQ(StopSignal::received(), SIGUSR1);  // what the program does next is asked to stop too
  EXPECT_FALSE(OrderlyStop::promised());
}

}  // namespace
}  // namespace bunchtrain::train
