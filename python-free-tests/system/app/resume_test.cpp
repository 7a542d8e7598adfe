// SPDX-License-Identifier: Apache-2.0
/// Interrupted runs: signals, kills, damaged snapshots.
#include "bunchtrain/report/jsonl_writer.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

class ResumeTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    jets_ = make_jets("toy.h5", 1500);
  }
  std::string command(const std::string& run, const std::string& more = "") const {
    return train("--particles 24 --epochs 2 --batch 60 --checkpoint-every 5 --data " + jets_ + " --run " +
                 path(run) + " " + also_ + " " + more);
  }
  void run_undisturbed(int ranks) const {
    const Finished done = run(mpirun(ranks, command("undisturbed")));
    ASSERT_EQ(done.exit_code, 0) << done.output;
  }
  /// Starts two ranks, waits until some steps are done, sends `signal` to mpirun; returns mpirun's exit code.
  int interrupt(int signal) const {
    Process process(mpirun(2, command("disturbed")), folder_ / "log");
    EXPECT_TRUE(process.wait_until([&] { return lines("disturbed") >= 12; })) << process.output();
    process.signal(signal);
    return process.wait();
  }
  void resume(int ranks = 2) const {
    const Finished done = run(mpirun(ranks, command("disturbed", "--resume")));
    ASSERT_EQ(done.exit_code, 0) << done.output;
  }
  std::string jets_, also_;
};

TEST_F(ResumeTest, Usr1ToMpirunEndsWith85AndResumesBitEqual) {
  run_undisturbed(2);
  EXPECT_EQ(interrupt(SIGUSR1), 85);
  resume();
  expect_same_weights("undisturbed", "disturbed");
}

/// In the middle of a group of buckets, where jets have other batches than they would without.
TEST_F(ResumeTest, LengthBucketsGoOnAtTheStep) {
  also_ = "--length-buckets 6 --batch-norm-rows real";
  run_undisturbed(2);
  EXPECT_EQ(interrupt(SIGUSR1), 85);
  resume();
  expect_same_weights("undisturbed", "disturbed");
}

TEST_F(ResumeTest, KilledRunResumesFromTheLastSnapshot) {
  run_undisturbed(2);
  EXPECT_NE(interrupt(SIGKILL), 0);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  resume();
  expect_same_weights("undisturbed", "disturbed");
}

TEST_F(ResumeTest, TermToMpirunResumes) {
  run_undisturbed(2);
  EXPECT_NE(interrupt(SIGTERM), 0);
  resume();
  expect_same_weights("undisturbed", "disturbed");
}

TEST_F(ResumeTest, Usr2ToOneRankStopsAll) {
  Process process(mpirun(2, command("disturbed")), folder_ / "log");
  ASSERT_TRUE(process.wait_until([&] { return lines("disturbed") >= 8; })) << process.output();
  const Finished rank = run("pgrep -n -P " + std::to_string(process.pid()) + " train_particle");
  ASSERT_EQ(rank.exit_code, 0) << rank.output;
  kill(std::stoi(rank.output), SIGUSR2);
  EXPECT_EQ(process.wait(), 85) << process.output();
  resume();
}

/// A training whose validations take much longer than its steps.
class ValidationTest : public ResumeTest {
 protected:
  void SetUp() override {
    ResumeTest::SetUp();
    few_ = make_jets("few.h5", 300, 5);
    many_ = make_jets("many.h5", 6000, 6);
  }
  std::string command(const std::string& run, const std::string& more = "") const {
    return train("--particles 24 --epochs 2 --batch 60 --data " + few_ + " --valid " + many_ + " --run " +
                 path(run) + " " + more);
  }
  /// Starts two ranks, sends `signal` to one of them in the validation of the first
  /// epoch; returns mpirun's code.
  int interrupt(int signal) const {
    Process process(mpirun(2, command("disturbed")), folder_ / "log");
    const auto saved = folder_ / "disturbed" / "checkpoints" / "step-000005";
    EXPECT_TRUE(process.wait_until([&] { return std::filesystem::exists(saved); })) << process.output();
    const Finished rank = run("pgrep -n -P " + std::to_string(process.pid()) + " train_particle");
    EXPECT_EQ(rank.exit_code, 0) << rank.output;
    kill(std::stoi(rank.output), signal);
    return process.wait();
  }
  void expect_resumed_in_validation() const {
    EXPECT_EQ(lines("disturbed"), 5) << "the epoch was judged before the signal came";
    const Finished resumed = run(mpirun(2, command("disturbed", "--resume")));
    ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
    EXPECT_NE(resumed.output.find("resumed at step 5 (epoch 1, trained: its validation follows)"),
              std::string::npos)
        << resumed.output;
    expect_same_weights("undisturbed", "disturbed");
    EXPECT_EQ(read_file(folder_ / "disturbed/checkpoints/best"),
              read_file(folder_ / "undisturbed/checkpoints/best"));
    const auto expected = report::read_jsonl(folder_ / "undisturbed" / "metrics.jsonl");
    const auto found = report::read_jsonl(folder_ / "disturbed" / "metrics.jsonl");
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      for (const char* field :
           {"step", "epoch", "loss", "train_loss", "valid_loss", "valid_auc", "learning_rate"}) {
        if (!report::find(expected[i], field)) continue;
        EXPECT_EQ(report::number(found[i], field), report::number(expected[i], field)) << i << " " << field;
      }
    }
  }
  void run_undisturbed() const {
    const Finished done = run(mpirun(2, command("undisturbed")));
    ASSERT_EQ(done.exit_code, 0) << done.output;
  }
  std::string few_, many_;
};

TEST_F(ValidationTest, AKillCostsTheValidationAlone) {
  run_undisturbed();
  EXPECT_NE(interrupt(SIGKILL), 0);
  expect_resumed_in_validation();
}

TEST_F(ValidationTest, Usr1BreaksItOffWith85) {
  run_undisturbed();
  EXPECT_EQ(interrupt(SIGUSR1), 85);
  expect_resumed_in_validation();
}

TEST_F(ResumeTest, ALostTrainingGoesOnAsTheMessageSays) {
  const Finished lost = run(command("disturbed", "--learning-rate 1e36 --checkpoint-every 1 --keep-last 1"));
  EXPECT_EQ(lost.exit_code, 1) << lost.output;
  EXPECT_NE(lost.output.find("by --resume with a lower --learning-rate"), std::string::npos) << lost.output;
  const Finished mended = run(command("disturbed", "--resume --learning-rate 0.005 --epochs 1"));
  EXPECT_EQ(mended.exit_code, 0) << mended.output;
}

TEST_F(ResumeTest, PatienceEndsARunWith0AndItsTable) {
  const Finished done = run(command("patient", "--epochs 40 --patience 1 --learning-rate 1e-9 --batch 300"));
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_NE(done.output.find("finished early: 1 epoch without a better valid_auc"), std::string::npos)
      << done.output;
  EXPECT_NE(done.output.find("labelled samples: accuracy"), std::string::npos) << done.output;
}

TEST_F(ResumeTest, ADamagedNewestSnapshotIsNamedAndTheOneBeforeUsed) {
  run_undisturbed(1);
  ASSERT_EQ(run(mpirun(1, command("disturbed"))).exit_code, 0);  // mpirun binds to a core: as many threads
  const auto newest = latest("disturbed");
  for (const auto& entry : std::filesystem::directory_iterator(newest))
    if (entry.path().extension() == ".safetensors")
      std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry.path()) / 2);
  const Finished resumed = run(mpirun(1, command("disturbed", "--resume")));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_NE(resumed.output.find(newest.filename().string()), std::string::npos) << resumed.output;
  expect_same_weights("undisturbed", "disturbed");
}

TEST_F(ResumeTest, ResumingNothingStartsAfresh) {
  const Finished done = run(command("new", "--resume --epochs 1"));
  EXPECT_EQ(done.exit_code, 0) << done.output;
}

TEST_F(ResumeTest, AnotherWorldSizeGoesOnInTheSameOrder) {
  ASSERT_EQ(interrupt(SIGUSR1), 85);
  resume(1);
  const auto records = report::read_jsonl(folder_ / "disturbed" / "metrics.jsonl");
  EXPECT_EQ(report::number(records.back(), "epoch"), 2);
  EXPECT_EQ(report::number(records.back(), "step"),
            static_cast<double>(checkpoint::read_info(latest("disturbed")).step));
  EXPECT_EQ(static_cast<double>(records.size()), report::number(records.back(), "step") + 2)
      << "steps are missing or doubled";
}

TEST_F(ResumeTest, AKilledRankEndsTheJobWithinSeconds) {
  Process process(mpirun(2, command("disturbed", "--epochs 200")), folder_ / "log");
  ASSERT_TRUE(process.wait_until([&] { return lines("disturbed") >= 5; })) << process.output();
  const Finished rank = run("pgrep -n -P " + std::to_string(process.pid()) + " train_particle");
  ASSERT_EQ(rank.exit_code, 0) << rank.output;
  kill(std::stoi(rank.output), SIGKILL);
  EXPECT_NE(process.wait(std::chrono::seconds(15)), 0);
  EXPECT_NE(run("pgrep -f " + path("disturbed")).output.find_first_of("0123456789"), 0U)
      << "an orphan is left";
}

}  // namespace
}  // namespace bunchtrain::test
