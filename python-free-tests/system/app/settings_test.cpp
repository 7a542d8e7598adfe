// SPDX-License-Identifier: Apache-2.0
/// What was asked for is what runs, on all ranks and after a resume; or the user is told.
#include <gmock/gmock.h>

#include <fstream>

#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SettingsTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    jets_ = make_jets("toy.h5", 400);
  }
  std::string command(const std::string& run, const std::string& more = "") const {
    return train("--epochs 2 --batch 64 --data " + jets_ + " --run " + path(run) + " " + more);
  }
  std::string jets_;
};

TEST_F(SettingsTest, AVariableThatOneRankAloneHasEndsTheJobBeforeTheFirstStep) {
  const std::string words = command("run", "--log-level warning");
  const Finished done = run("mpirun -n 1 " + words + " : -n 1 env BUNCHTRAIN_LEARNING_RATE=1 " + words);
  EXPECT_EQ(done.exit_code, 78) << done.output;
  EXPECT_THAT(
      done.output,
      HasSubstr("rank 1 has learning-rate = 1.0 (environment variable BUNCHTRAIN_LEARNING_RATE), rank 0 "
                "has 0.005 (default)"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(SettingsTest, CopiesOfOtherContentEndTheJobBeforeTheFirstStep) {
  const std::string other = make_jets("other.h5", 400, 2);
  const std::string words = train("--epochs 2 --batch 64 --run " + path("run") + " --data ");
  const Finished done = run("mpirun -n 1 " + words + jets_ + " : -n 1 " + words + other);
  EXPECT_EQ(done.exit_code, 78) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("rank 1: "), HasSubstr("other.h5"),
                                 HasSubstr("read other rows than are here")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(SettingsTest, AResumeNamesWhatDiffersAndTheAdviceWorks) {
  ASSERT_EQ(run(command("run")).exit_code, 0);
  for (const auto& [change, expected] : {std::pair{"--seed 5", "seed was 1 (default), is 5 (--seed)"},
                                         {"--particles 16", "particles was 0 (default), is 16 (--particles)"},
                                         {"--dropout 0.3", "dropout was 0.1 (default), is 0.3 (--dropout)"},
                                         {"--weight-decay 0.1", "weight-decay was 0.0001 (default), is 0.1"},
                                         {"--precision float64", "precision was \"float32\" (auto)"}}) {
    const Finished refused = run(command("run", std::string("--resume ") + change));
    EXPECT_EQ(refused.exit_code, 78) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr(expected));
  }
  const Finished valid = run(command("run", "--resume --valid " + make_jets("valid.h5", 100, 3)));
  EXPECT_EQ(valid.exit_code, 78) << valid.output;
  EXPECT_THAT(valid.output, HasSubstr("validation data was"));
  const Finished allowed = run(command("run", "--resume --allow-changed --learning-rate 0.001 --epochs 3"));
  EXPECT_EQ(allowed.exit_code, 0) << allowed.output;
  EXPECT_THAT(allowed.output,
              AllOf(HasSubstr("changed: learning-rate was 0.005 (default), is 0.001"),
                    HasSubstr("epochs was 2 (--epochs), is 3 (--epochs)"), HasSubstr("--reschedule")));
}

TEST_F(SettingsTest, AnotherNumberOfRanksIsSaid) {
  ASSERT_EQ(run(mpirun(2, command("run", "--max-steps 3"))).exit_code, 0);
  const Finished resumed = run(command("run", "--resume"));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_THAT(resumed.output, HasSubstr("resumed at 1 rank, saved at 2"));
}

TEST_F(SettingsTest, WhatCodeDecidesIsPrintedAndWhatNothingUsesIsNamed) {
  const std::string words = example("custom_model", "--data " + jets_ + " --epochs 1 --run " + path("run"));
  const Finished printed = run(words + " --print-config 2>/dev/null");
  ASSERT_EQ(printed.exit_code, 0) << printed.output;
  EXPECT_THAT(printed.output, AllOf(HasSubstr("(set by the program)\nlearning-rate = 0.001\n"),
                                    HasSubstr("\nepochs = 1\n"), HasSubstr("# optimizer = ")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
  const Finished trained = run(words + " --optimizer sgd --weight-decay 1");
  EXPECT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("optimizer = \"sgd\" (--optimizer) was given, but nothing"),
                                    HasSubstr("weight-decay = 1.0 (--weight-decay) was given, but nothing")));
}

TEST_F(SettingsTest, AHandWrittenLoopPrintsItsOptionsAndEnds) {
  const Finished printed =
      run(example("custom_loop", "--data " + jets_ + " --epochs 900000 --print-config 2>/dev/null"));
  EXPECT_EQ(printed.exit_code, 0) << printed.output;
  EXPECT_THAT(printed.output, HasSubstr("\nepochs = 900000\n"));
}

TEST_F(SettingsTest, ABoundedRunEndsWithItsTable) {
  const Finished done = run(command("run", "--steps-per-epoch 2 --max-steps 5 --epochs 50"));
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("3 epochs, 5 steps"), HasSubstr("1/eB")));
}

}  // namespace
}  // namespace bunchtrain::test
