// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

TEST(ProcessTest, KnowsItself) {
  const ProcessIdentity self = this_process();
  EXPECT_EQ(self.pid, getpid());
  EXPECT_GT(self.start_ticks, 0U);
  EXPECT_FALSE(self.machine.empty());
  EXPECT_NE(state_of(self), ProcessState::gone);
  EXPECT_EQ(ProcessIdentity::from_line(self.to_line()), self);
  EXPECT_THROW(ProcessIdentity::from_line("no process"), DataError);
}

TEST(ProcessTest, AnotherProcessWithTheSameNumberIsNotIt) {
  ProcessIdentity earlier = this_process();
  --earlier.start_ticks;
  EXPECT_EQ(state_of(earlier), ProcessState::gone);
}

TEST(ProcessTest, SaysNothingOfOtherMachines) {
  ProcessIdentity there = this_process();
  there.machine = "another-kernel";
  there.host = "node7";
  EXPECT_EQ(state_of(there), ProcessState::unseen);
  EXPECT_EQ(describe(there, ProcessState::unseen), "process " + std::to_string(getpid()) + " on node7");
  ProcessIdentity in_container = this_process();
  ++in_container.pid_space;
  EXPECT_EQ(state_of(in_container), ProcessState::unseen);
}

TEST(ProcessTest, SeesAProcessStopAndEnd) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  ProcessIdentity identity = this_process();
  identity.pid = child;
  // Started within the clock's tick of now: the number is found by trying.
  const std::uint64_t own_start = identity.start_ticks;
  for (identity.start_ticks = own_start; state_of(identity) == ProcessState::gone; ++identity.start_ticks)
    ASSERT_LT(identity.start_ticks, own_start + 1'000'000);
  kill(child, SIGSTOP);
  while (state_of(identity) != ProcessState::stopped) std::this_thread::yield();
  EXPECT_NE(describe(identity, ProcessState::stopped).find("is stopped"), std::string::npos);
  kill(child, SIGKILL);
  kill(child, SIGCONT);
  while (state_of(identity) != ProcessState::gone) std::this_thread::yield();  // a zombie by now
  waitpid(child, nullptr, 0);
  EXPECT_EQ(state_of(identity), ProcessState::gone);
}

}  // namespace
}  // namespace bunchtrain
