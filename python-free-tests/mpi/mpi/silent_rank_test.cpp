// SPDX-License-Identifier: Apache-2.0
// What the others see of a rank that is stopped, busy or in trouble.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::mpi {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const CommError& error) {
    return error.message();
  }
  ADD_FAILURE() << "no CommError";
  return {};
}

class SilentRankTest : public testing::Test {
 protected:
  static constexpr int kSilent = 1;

  Comm duplicate(milliseconds timeout) { return Comm::duplicate_of(MPI_Comm_c2f(MPI_COMM_WORLD), timeout); }
  bool is_silent() const { return comm.rank() == kSilent; }
  /// The silent rank stops itself until rank 0 lets it go on, after `action` of the others.
  void while_stopped(const std::function<void()>& action) {
    const pid_t pid = static_cast<pid_t>(comm.process_of(kSilent).pid);
    if (is_silent()) {
      raise(SIGSTOP);
    } else {
      while (state_of(comm.process_of(kSilent)) != ProcessState::stopped)
        std::this_thread::sleep_for(milliseconds(5));
      action();
    }
    if (comm.rank() == 0) {
      std::this_thread::sleep_for(milliseconds(300));  // the others have their turn
      kill(pid, SIGCONT);
    }
  }

  Comm comm = duplicate(std::chrono::minutes(1));
};

/// Everything that the control plane does while ranks wait for one another.
struct Operation {
  const char* name;
  std::function<void(const Comm&)> call;
};

class StoppedRankTest : public SilentRankTest, public testing::WithParamInterface<Operation> {};

TEST_P(StoppedRankTest, IsNamedWithItsProcessAndThePhase) {
  Comm trial = duplicate(milliseconds(300));
  const auto outer = trial.in_phase("starting the job");
  const auto phase = trial.in_phase("writing snapshot 40", Waits::for_disk);
  std::string heard;
  trial.on_failure([&](const std::string& reason) { heard = reason; });
  while_stopped([&] {
    const auto start = std::chrono::steady_clock::now();
    const auto text = error_of([&] { GetParam().call(trial); });
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
    EXPECT_THAT(text, AnyOf(HasSubstr("another rank gave up"), HasSubstr("no answer within")));
    EXPECT_THAT(text, AllOf(HasSubstr("(while writing snapshot 40)"), HasSubstr("Silent: rank 1 (process "),
                            HasSubstr("is stopped")));
    EXPECT_TRUE(trial.failed());
    EXPECT_EQ(heard, text);
    EXPECT_THAT(trial.last_operations(), HasSubstr(", writing snapshot 40: in flight since"));
  });
  comm.barrier();
}

INSTANTIATE_TEST_SUITE_P(All, StoppedRankTest,
                         testing::Values(Operation{"Barrier", [](const Comm& c) { c.barrier(); }},
                                         Operation{"Broadcast",
                                                   [](const Comm& c) { c.broadcast("text", 1); }},
                                         Operation{"AllGather", [](const Comm& c) { c.all_gather("text"); }},
                                         Operation{"AllMax", [](const Comm& c) { c.all_max(1); }},
                                         Operation{"Agreement", [](const Comm& c) { c.agree_or_throw("x"); }},
                                         Operation{"Together", [](const Comm& c) { c.together([] {}); }},
                                         Operation{"Duplicate", [](const Comm& c) { c.duplicate(); }},
                                         Operation{"Split", [](const Comm& c) { c.split(0, 0); }}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(SilentRankTest, ASlowDiskGetsMoreTimeThanASlowPeer) {
  for (const Waits waits : {Waits::for_peers, Waits::for_disk}) {
    Comm trial = duplicate(milliseconds(1000));
    std::vector<std::string> told;
    trial.on_slow_peer([&](const std::string& text) { told.push_back(text); });
    const auto phase = trial.in_phase("writing snapshot 40", waits);
    if (is_silent()) std::this_thread::sleep_for(milliseconds(3500));  // a disk takes its time
    const bool slow_disk = waits == Waits::for_disk;
    if (!slow_disk && !is_silent()) {
      EXPECT_THAT(error_of([&] { trial.barrier(); }), HasSubstr("Silent: rank 1"));
    } else if (slow_disk) {
      EXPECT_NO_THROW(trial.barrier());
      if (comm.rank() == 0)
        EXPECT_THAT(told, testing::Contains(AllOf(HasSubstr("waiting for rank 1 (process "),
                                                  HasSubstr("writing snapshot 40"))));
      else
        EXPECT_THAT(told, testing::IsEmpty());
    }
    comm.barrier();
  }
}

TEST_F(SilentRankTest, PhasesNestAndEnd) {
  EXPECT_EQ(comm.phase(), "");
  {
    const auto outer = comm.in_phase("training");
    Comm copy = comm.duplicate();
    {
      const auto inner = copy.in_phase("writing snapshot 3", Waits::for_disk);
      EXPECT_EQ(comm.phase(), "writing snapshot 3");  // shared by the communicators of a job
    }
    EXPECT_EQ(copy.phase(), "training");
    copy.close();
  }
  EXPECT_EQ(comm.phase(), "");
}

TEST_F(SilentRankTest, OneRankTellsTheUser) {
  Comm trial = duplicate(std::chrono::seconds(5));
  const bool speaks = trial.speaks_for_job(milliseconds(trial.rank() == 0 ? 0 : 1500));
  EXPECT_EQ(speaks, trial.rank() == 0);
  comm.barrier();
}

TEST_F(SilentRankTest, TogetherKeepsTheClassOfAnErrorOnEveryRank) {
  const auto only_one = [&](auto error) {
    return [this, error] {
      if (is_silent()) throw error;
    };
  };
  try {
    comm.together(only_one(IoError("the disk is full", ENOSPC)));
    ADD_FAILURE() << "nobody was told";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), ENOSPC);
    EXPECT_THAT(error.message(), AllOf(HasSubstr("rank 1: "), HasSubstr("the disk is full")));
  }
  EXPECT_THROW(comm.together(only_one(ConfigError("wrong"))), ConfigError);
  EXPECT_THROW(comm.together(only_one(DataError("damaged"))), DataError);
  EXPECT_THROW(comm.together(only_one(CheckpointError("foreign"))), CheckpointError);
  EXPECT_THROW(comm.together(only_one(std::runtime_error("other"))), Error);
  EXPECT_NO_THROW(comm.together([] {}));
}

}  // namespace
}  // namespace bunchtrain::mpi
