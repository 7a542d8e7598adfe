// SPDX-License-Identifier: Apache-2.0
/// How jobs end: signals at any moment, ranks that stop, two jobs in one folder.
#include <gmock/gmock.h>

#include <sstream>
#include <vector>

#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

class JobEndTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    jets_ = make_jets("toy.h5", 1500);
  }
  std::string command(const std::string& more = "", const std::string& run = "run") const {
    return train("--particles 24 --epochs 2 --batch 60 --checkpoint-every 5 --timeout 10 --data " + jets_ +
                 " --run " + path(run) + " " + more);
  }
  /// Whether a process catches USR1: it has reached the first line of bt::run.
  static bool has_handlers(pid_t pid) {
    const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
    const auto field = status.find("SigCgt:");
    if (field == std::string::npos) return false;
    return (std::stoull(status.substr(field + 7), nullptr, 16) >> (SIGUSR1 - 1) & 1) != 0;
  }
  /// The ranks of a job, lowest number first started.
  static std::vector<pid_t> ranks_of(const Process& mpirun) {
    std::istringstream pids(run("pgrep -P " + std::to_string(mpirun.pid()) + " train_particle").output);
    std::vector<pid_t> found;
    for (pid_t pid = 0; pids >> pid;) found.push_back(pid);
    return found;
  }
  /// Trainers whose command line names the scratch folder.
  int trainers() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string words = read_file(entry.path() / "cmdline");
      const std::string name = read_file(entry.path() / "comm");
      if (name.starts_with("train_particle") && words.find(folder_.string()) != std::string::npos) ++count;
    }
    return count;
  }
  void expect_no_process_left() const {
    for (int tries = 0; tries < 100 && trainers() > 0; ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_EQ(trainers(), 0) << "an orphan is left";
  }
  std::string jets_;
};

TEST_F(JobEndTest, ASignalToAProcessInTrainingSavesAndEndsWithItsCode) {
  for (const auto& [signal, code] : {std::pair(SIGINT, 130), {SIGHUP, 85}, {SIGTERM, 85}, {SIGUSR1, 85}}) {
    const std::string name = "run" + std::to_string(signal);
    Process process(command("", name), folder_ / "log");
    ASSERT_TRUE(process.wait_until([&] { return lines(name) >= 7; })) << process.output();
    process.signal(signal);
    EXPECT_EQ(process.wait(seconds(20)), code) << process.output();
    EXPECT_THAT(process.output(), HasSubstr("--resume goes on"));
    if (signal != SIGINT) {
      EXPECT_THAT(process.output(), Not(HasSubstr("Ctrl-C again")));
    }
    EXPECT_GE(checkpoint::read_info(latest(name)).step, 7);
    EXPECT_FALSE(std::filesystem::exists(folder_ / name / "run.lock"));
  }
}

TEST_F(JobEndTest, ASecondCtrlCEndsAtOnce) {
  Process process(command("--epochs 200"), folder_ / "log");
  ASSERT_TRUE(process.wait_until([&] { return lines("run") >= 7; })) << process.output();
  process.signal(SIGINT);
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(seconds(20)), 130) << process.output();
}

TEST_F(JobEndTest, ASignalBeforeTheFirstStepTrainsNothing) {
  for (const auto& [signal, code] : {std::pair(SIGUSR1, 85), {SIGTERM, 85}, {SIGHUP, 85}, {SIGINT, 130}}) {
    Process process(command(), folder_ / "log");
    ASSERT_TRUE(process.wait_until([&] { return has_handlers(process.pid()); })) << process.output();
    process.signal(signal);
    EXPECT_EQ(process.wait(seconds(20)), code) << process.output();
    EXPECT_EQ(lines("run"), 0) << "a step was trained";
    EXPECT_FALSE(std::filesystem::exists(folder_ / "run" / "run.lock"));
  }
  const Finished done = run(command("--resume --epochs 1"));
  EXPECT_EQ(done.exit_code, 0) << done.output;
}

TEST_F(JobEndTest, Usr1ToMpirunBeforeTheFirstStepTrainsNothing) {
  Process process(mpirun(2, command()), folder_ / "log");
  ASSERT_TRUE(process.wait_until([&] {
    const auto ranks = ranks_of(process);
    return ranks.size() == 2 && has_handlers(ranks[0]) && has_handlers(ranks[1]);
  })) << process.output();
  process.signal(SIGUSR1);
  EXPECT_EQ(process.wait(seconds(20)), 85) << process.output();
  EXPECT_EQ(lines("run"), 0) << "a step was trained";
  expect_no_process_left();
}

TEST_F(JobEndTest, NohupIsHonoured) {
  Process process("nohup " + command("--epochs 1"), folder_ / "log");
  ASSERT_TRUE(process.wait_until([&] { return lines("run") >= 5; })) << process.output();
  process.signal(SIGHUP);
  EXPECT_EQ(process.wait(), 0) << process.output();
}

/// From its first line to the middle of the training.
TEST_F(JobEndTest, AStoppedRankIsNamedWhereverItStops) {
  for (const int record : {-1, 0, 3}) {
    Process process(mpirun(2, command("--resume --epochs 200")), folder_ / "log");
    std::vector<pid_t> ranks;
    ASSERT_TRUE(process.wait_until([&] {
      ranks = ranks_of(process);
      if (ranks.size() < 2) return false;
      return record < 0 || (has_handlers(ranks[1]) && lines("run") >= record);
    })) << process.output();
    kill(ranks[1], SIGSTOP);
    EXPECT_EQ(process.wait(seconds(60)), 75) << process.output();
    const std::string text = process.output();
    EXPECT_THAT(text, HasSubstr("Silent: rank 1 (process " + std::to_string(ranks[1])));
    EXPECT_THAT(text, HasSubstr("is stopped"));
    EXPECT_EQ(text.find("Silent: rank"), text.rfind("Silent: rank")) << "told twice:\n" << text;
    expect_no_process_left();
  }
  EXPECT_THAT(read_file(folder_ / "run" / "flight-rank-0.txt"), HasSubstr("in flight since"));
}

TEST_F(JobEndTest, ASecondJobInTheFolderIsRefusedAndTheOwnerNamed) {
  Process first(command("--epochs 200"), folder_ / "log");
  ASSERT_TRUE(first.wait_until([&] { return lines("run") >= 3; })) << first.output();
  for (const char* more : {"", "--resume"}) {
    const Finished second = run(command(more));
    EXPECT_EQ(second.exit_code, 78) << second.output;
    EXPECT_THAT(second.output, HasSubstr("process " + std::to_string(first.pid())));
    EXPECT_THAT(second.output, HasSubstr("--run"));
  }
  first.signal(SIGKILL);
  first.wait();
  const Finished third = run(command("--resume --epochs 1"));
  EXPECT_THAT(third.output, HasSubstr("taken over from process " + std::to_string(first.pid())));
}

#ifdef BUNCHTRAIN_CAN_UNSHARE
TEST_F(JobEndTest, ARunFolderThatIsNotSharedIsRefusedBeforeTheFirstStep) {
  std::filesystem::create_directories(folder_ / "runs");
  const std::string words = command("", "runs/one");
  const std::string apart =
      "unshare -m bash -c 'mount -t tmpfs none " + path("runs") + " && exec " + words + "'";
  const Finished done = run("mpirun -n 1 " + words + " : -n 1 " + apart);
  EXPECT_EQ(done.exit_code, 78) << done.output;
  EXPECT_THAT(done.output, HasSubstr("rank 1: the run folder " + path("runs/one") + " of rank 0"));
  EXPECT_THAT(done.output, HasSubstr("share by --run"));
  EXPECT_EQ(lines("runs/one"), 0);
}
#endif

TEST_F(JobEndTest, AKilledMpirunLeavesNoRank) {
  Process process(mpirun(2, command("--epochs 200")), folder_ / "log");
  ASSERT_TRUE(process.wait_until([&] { return lines("run") >= 3; })) << process.output();
  kill(process.pid(), SIGKILL);
  process.wait();
  expect_no_process_left();
}

TEST_F(JobEndTest, RanksThatFailTogetherSayItOnce) {
  const Finished done = run(mpirun(3, train("--data " + path("none.h5"))));
  EXPECT_EQ(done.exit_code, 78) << done.output;
  EXPECT_EQ(done.output.find(": error"), done.output.rfind(": error")) << "told twice:\n" << done.output;
}

}  // namespace
}  // namespace bunchtrain::test
