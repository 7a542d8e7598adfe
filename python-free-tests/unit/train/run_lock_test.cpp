// SPDX-License-Identifier: Apache-2.0
#include "run_lock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/run_folder.hpp"

namespace bunchtrain::train {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

class RunLockTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  RunLock::Options options() {
    return {.interval = milliseconds(50), .say = [this](const std::string& text) { told_.push_back(text); }};
  }
  /// Somebody on another machine, which cannot be looked at from here.
  RunLock::Options elsewhere(const std::string& host) {
    auto there = options();
    there.self.host = host;
    there.self.machine = "kernel-of-" + host;
    there.job = "SLURM job 123";
    return there;
  }
  std::unique_ptr<RunLock> acquire(RunLock::Options how) const {
    RunLock::Attempt attempt(root_, std::move(how));
    for (;;)
      if (auto lock = attempt.step()) return lock;
  }
  std::string refusal(RunLock::Options how) const {
    try {
      acquire(std::move(how));
    } catch (const ConfigError& error) {
      return error.message();
    }
    ADD_FAILURE() << "two writers in one folder";
    return {};
  }
  /// The lock that a process left which was killed.
  void leave_lock_of(const ProcessIdentity& process) const {
    std::ofstream(lock_) << "beat 0000000000000007\nprocess " << process.to_line()
                         << "\njob \nsince 2026-11-27 22:15:00 UTC\nnonce 0123456789abcdef\n";
  }

  const fs::path root_ = fs::path(testing::TempDir()) / ("run_lock_test_" + std::to_string(getpid()));
  const fs::path lock_ = root_ / "run.lock";
  std::vector<std::string> told_;
};

TEST_F(RunLockTest, NamesItsOwnerAndIsRemovedAtTheEnd) {
  {
    const auto lock = acquire(options());
    const auto owner = read_lock(lock_);
    ASSERT_TRUE(owner);
    EXPECT_EQ(owner->process, this_process());
    EXPECT_EQ(owner->nonce, lock->nonce());
    EXPECT_FALSE(lock->lost());
  }
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(RunLockTest, ASecondWriterOnThisMachineIsRefusedAndTheOwnerNamed) {
  const auto lock = acquire(options());
  EXPECT_THAT(refusal(options()),
              AllOf(HasSubstr("process " + std::to_string(getpid()) + " on "), HasSubstr(root_.string()),
                    HasSubstr("folder by run."), HasSubstr("since 20")));
  EXPECT_FALSE(lock->lost());
  EXPECT_EQ(read_lock(lock_)->nonce, lock->nonce());
}

TEST_F(RunLockTest, ADeadProcessOfThisMachineLosesItAtOnce) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  ProcessIdentity dead = this_process();
  dead.pid = child;
  waitpid(child, nullptr, 0);
  leave_lock_of(dead);
  const auto lock = acquire(options());
  EXPECT_EQ(read_lock(lock_)->process, this_process());
  EXPECT_THAT(told_, testing::ElementsAre(HasSubstr("taken over from process " + std::to_string(child))));
}

TEST_F(RunLockTest, ALaterProcessWithTheSameNumberIsNotTheOwner) {
  ProcessIdentity before = this_process();
  --before.start_ticks;
  leave_lock_of(before);
  EXPECT_TRUE(acquire(options()));
}

TEST_F(RunLockTest, ALivingOwnerOnAnotherMachineIsRecognisedByItsHeartbeat) {
  const auto lock = acquire(elsewhere("node7"));
  EXPECT_THAT(refusal(options()), AllOf(HasSubstr("on node7"), HasSubstr("SLURM job 123")));
  EXPECT_FALSE(lock->lost());
}

TEST_F(RunLockTest, AnotherMachinesLockIsTakenOverAfterThreeIntervalsWithoutAHeartbeat) {
  ProcessIdentity there = this_process();  // the same number lives here: that must not count
  there.host = "node7";
  there.machine = "kernel-of-node7";
  leave_lock_of(there);
  const auto start = std::chrono::steady_clock::now();
  const auto lock = acquire(options());
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(150));
  EXPECT_EQ(read_lock(lock_)->nonce, lock->nonce());
  EXPECT_THAT(told_, testing::ElementsAre(HasSubstr("looking for 0.15 s"), HasSubstr("no sign of life")));
}

TEST_F(RunLockTest, AnUnreadableLockIsWatchedToo) {
  std::ofstream(lock_) << "beat 0000";
  EXPECT_TRUE(acquire(options()));
}

TEST_F(RunLockTest, TheOldOwnerNoticesThatItsLockWasTaken) {
  const auto old = acquire(elsewhere("node7"));
  fs::remove(lock_);
  leave_lock_of(this_process());
  while (!old->lost()) std::this_thread::sleep_for(milliseconds(5));
}

TEST_F(RunLockTest, AnOwnerWhoseFolderWasRemovedNoticesIt) {
  const auto lock = acquire(options());
  fs::remove_all(root_);
  while (!lock->lost()) std::this_thread::sleep_for(milliseconds(5));
}

TEST_F(RunLockTest, TheEndOfTheOldOwnerLeavesTheNewOnesLock) {
  auto old = acquire(options());
  fs::remove(lock_);
  const auto owner = acquire(elsewhere("node7"));
  old.reset();
  ASSERT_TRUE(read_lock(lock_));
  EXPECT_EQ(read_lock(lock_)->nonce, owner->nonce());
}

/// Of many that find the same dead owner's lock, exactly one gets it.
TEST_F(RunLockTest, OnlyOneOfManyTakesOver) {
  for (int round = 0; round < 5; ++round) {
    ProcessIdentity dead = this_process();
    --dead.start_ticks;
    leave_lock_of(dead);
    std::atomic<int> owners = 0, refused = 0;
    {
      std::vector<std::unique_ptr<RunLock>> locks(4);
      std::vector<std::jthread> takers;
      for (auto& lock : locks) {
        takers.emplace_back([&] {
          try {
            lock = acquire({.interval = milliseconds(50)});
            ++owners;
          } catch (const ConfigError&) {
            ++refused;
          }
        });
      }
      takers.clear();
      EXPECT_EQ(owners, 1);
      EXPECT_EQ(refused, 3);
    }
    EXPECT_FALSE(fs::exists(lock_));
  }
}

TEST_F(RunLockTest, AllLocksCanBeGivenBackWithoutDestructors) {
  const auto lock = acquire(options());
  RunFolder::release_locks();
  EXPECT_FALSE(fs::exists(lock_));
}

TEST_F(RunLockTest, LeftoversOfKilledTakersAreRemoved) {
  std::ofstream(root_ / "run.lock.partial-1-abc") << "x";
  const auto lock = acquire(options());
  EXPECT_FALSE(fs::exists(root_ / "run.lock.partial-1-abc"));
}

TEST_F(RunLockTest, ABatchJobIsNamed) {
  setenv("SLURM_JOB_ID", "123", 1);
  setenv("SLURM_ARRAY_TASK_ID", "4", 1);
  EXPECT_EQ(batch_job(), "SLURM job 123, task 4");
  EXPECT_EQ(batch_job_suffix(), "123_4");
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_ARRAY_TASK_ID");
}

TEST_F(RunLockTest, TooManyOpenFilesArePassingTrouble) {
  RunLock::Attempt attempt(root_, options());
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  int code = 0;
  std::string message;
  try {
    attempt.step();
  } catch (const IoError& error) {
    code = error.code();
    message = error.what();
  }
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(code, EMFILE);
  EXPECT_THAT(message, AllOf(HasSubstr(root_.string()), HasSubstr("cannot be written"),
                             HasSubstr("name another with run")));
  EXPECT_TRUE(fs::is_empty(root_));
}

}  // namespace
}  // namespace bunchtrain::train
