// SPDX-License-Identifier: Apache-2.0
// Validations within an epoch, and what watches their metrics.
#include <gmock/gmock.h>

#include <utility>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/run_page.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using train::FitResult;

/// 200 points in batches of 32: 7 steps an epoch, 3 epochs.
class ValidateEveryTest : public TrainerFixture {
 protected:
  const data::DatasetPtr points_ = make_points(200), others_ = make_points(150, 2);
  const std::vector<std::string> flags_ = {"--validate-every", "3"};
  static constexpr std::int64_t kSteps[] = {3, 6, 9, 12, 15, 18};

  std::vector<std::string> flags(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), flags_.begin(), flags_.end());
    return more;
  }
  /// Scores of the nine validations of a run of 21 steps: 3, 6, epoch, 9, 12, epoch, 15, 18, epoch.
  static constexpr double kScores[] = {0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8};
  static std::shared_ptr<ListedScores> scores(std::size_t first = 0,
                                              std::function<void(std::int64_t)> hook = {}) {
    return std::make_shared<ListedScores>(std::vector<double>(std::begin(kScores) + first, std::end(kScores)),
                                          std::move(hook));
  }
};

TEST_F(ValidateEveryTest, JudgesSnapshotsWithinAnEpochAndTrainsTheSame) {
  ToyTraining plain = make("plain");
  plain.trainer.fit(points_, others_);
  ToyTraining training = make("run", flags({"--keep-last", "20"}));
  const auto listed = scores();
  training.trainer.use_validation(listed);
  training.trainer.fit(points_, others_);
  EXPECT_EQ(training.weights(), plain.weights());
  EXPECT_EQ(listed->passes, 9U);
  const auto found = records("run", "validation");
  ASSERT_EQ(found.size(), std::size(kSteps));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(report::number(found[i], "step"), static_cast<double>(kSteps[i]));
    EXPECT_GT(report::number(found[i], "valid_loss"), 0);
    const auto info = checkpoint::read_info(snapshot("run", kSteps[i]));
    EXPECT_TRUE(info.judged);
    EXPECT_EQ(*info.metric, report::number(found[i], "valid_listed"));
  }
  EXPECT_EQ(read("run/checkpoints/best"), "step-000006\n");
  EXPECT_EQ(records("run", "epoch").size(), 3U);
}

TEST_F(ValidateEveryTest, ResumesToTheBitAndValidatesEachStepOnce) {
  ToyTraining undisturbed = make("undisturbed", flags());
  undisturbed.trainer.fit(points_, others_);
  for (const std::int64_t stop_after : {2, 3, 4, 5, 8}) {
    const std::string run = "stopped" + std::to_string(stop_after);
    ToyTraining first = make(run, flags());
    first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, stop_after));
    EXPECT_THROW(first.trainer.fit(points_, others_), train::Interrupted);
    first.session.close();
    ToyTraining second = make(run, flags({"--resume"}));
    second.trainer.fit(points_, others_);
    EXPECT_EQ(second.weights(), undisturbed.weights()) << run;
    const auto found = records(run, "validation"), expected = records("undisturbed", "validation");
    ASSERT_EQ(found.size(), expected.size()) << run;
    for (std::size_t i = 0; i < found.size(); ++i)
      for (const char* name : {"step", "valid_loss", "valid_auc"})
        EXPECT_EQ(report::number(found[i], name), report::number(expected[i], name)) << run << " " << name;
  }
}

/// The page that the run made of what it holds is the one that is made of its records.
TEST_F(ValidateEveryTest, ThePageOfTheRunIsThatOfItsRecords) {
  const auto expect_same_page = [&](const std::string& run) {
    const std::string made = read(run + "/report.html");
    EXPECT_EQ(read_text_file(train::render_run(root_ / run)), made) << run;
    EXPECT_THAT(made, HasSubstr("<dt>AUC</dt>")) << "of the results";
  };
  make("undisturbed", flags()).trainer.fit(points_, others_);
  expect_same_page("undisturbed");
  EXPECT_THAT(train::read_run(root_ / "undisturbed").validations.step, testing::ElementsAreArray(kSteps));
  ToyTraining first = make("stopped", flags());
  first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 10));
  EXPECT_THROW(first.trainer.fit(points_, others_), train::Interrupted);
  expect_same_page("stopped");  // the last page, though less than a minute is over
  first.session.close();
  std::ofstream(root_ / "stopped" / "metrics.jsonl", std::ios::app) << "rubbish\n";
  ToyTraining second = make("stopped", flags({"--resume"}));
  second.trainer.fit(points_, others_);
  expect_same_page("stopped");
  EXPECT_THAT(read("stopped/report.html"), HasSubstr("Unreadable lines"));
  EXPECT_THAT(train::read_run(root_ / "stopped").validations.step, testing::ElementsAreArray(kSteps));
}

TEST_F(ValidateEveryTest, AValidationThatWasBrokenOffIsMadeUpFor) {
  ToyTraining first = make("run", flags());
  first.trainer.use_validation(scores(0, [&](std::int64_t) { first.session.request_stop(); }));
  EXPECT_THROW(first.trainer.fit(points_, others_), train::Interrupted);
  first.session.close();
  EXPECT_FALSE(checkpoint::read_info(snapshot("run", 3)).judged);
  ToyTraining second = make("run", flags({"--resume"}));
  const auto listed = scores();
  second.trainer.use_validation(listed);
  second.trainer.fit(points_, others_);
  EXPECT_EQ(listed->passes, 9U);
  EXPECT_EQ(records("run", "validation").size(), std::size(kSteps));
}

TEST_F(ValidateEveryTest, EarlyStopWatchesAMetric) {
  ToyTraining training = make("run", flags({"--early-stop", "listed:2"}));
  training.trainer.use_validation(scores());
  const FitResult result = training.trainer.fit(points_, others_);
  EXPECT_EQ(result.steps, 10);  // 0.9 after step 6, then the epoch's 0.2 and 0.3 after step 9
  EXPECT_THAT(result.finished_early, HasSubstr("2 validations without a better valid_listed (best 0.9)"));
}

TEST_F(ValidateEveryTest, WhatNeedsAValidationSaysSo) {
  for (const auto& [flag, value] : {std::pair{"--validate-every", "3"}, {"--early-stop", "auc:3"}}) {
    try {
      make("none", {flag, value}).trainer.fit(points_, nullptr);
      ADD_FAILURE() << "accepted: " << flag;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(flag + 2), HasSubstr("for a run without validation")));
    }
  }
  EXPECT_THROW(make("unknown", {"--early-stop", "acu:3"}).trainer.fit(points_, others_), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::test
