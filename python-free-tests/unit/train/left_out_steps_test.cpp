// SPDX-License-Identifier: Apache-2.0
// Steps whose gradients are not finite: the end of the run, or left out.
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using train::FitResult;

/// 200 points in batches of 32: 7 steps an epoch, 3 epochs.
class LeftOutStepsTest : public TrainerFixture {
 protected:
  const data::DatasetPtr points_ = make_points(200);

  /// Losses of the steps in `lost` are NaN; counts from the step after `done`.
  train::Trainer with_lost(ToyTraining& parts, std::set<std::int64_t> lost, std::int64_t done = 0) {
    const auto step = std::make_shared<std::int64_t>(done);
    const auto objective = [step, lost](const NamedTensors& outputs, const Batch& batch) {
      nn::Losses losses = train::classification()(outputs, batch);
      if (lost.contains(++*step)) losses.total = losses.total * std::nan("");
      return losses;
    };
    return train::Trainer(parts.session, parts.parallel, parts.optimizer, objective,
                          {.epochs = 3, .batch = 32});
  }
  static std::set<std::int64_t> from_on(std::int64_t first) {
    std::set<std::int64_t> all;
    for (std::int64_t step = first; step < first + 200; ++step) all.insert(step);
    return all;
  }
};

TEST_F(LeftOutStepsTest, AreSkippedCountedAndLeaveNoTrace) {
  ToyTraining parts = make("run", {"--check-finite", "skip"});
  train::Trainer trainer = with_lost(parts, {3, 4, 10});
  std::vector<double> before_lost, after_lost;
  trainer.add_callback(std::make_shared<AfterStep>([&](const train::StepEvent& event) {
    if (event.step == 2) before_lost = parts.weights();
    if (event.step == 4) after_lost = parts.weights();
    EXPECT_EQ(std::isfinite(event.loss), event.step != 3 && event.step != 4 && event.step != 10);
  }));
  const FitResult result = trainer.fit(points_, nullptr);
  EXPECT_EQ(result.steps, 21);
  EXPECT_EQ(result.left_out_steps, 3);
  EXPECT_EQ(parts.optimizer.steps(), 18);
  EXPECT_TRUE(std::isfinite(result.train_loss));
  for (const auto& record : records("run", "epoch"))
    EXPECT_TRUE(std::isfinite(report::number(record, "train_loss")));
  const auto parameters = static_cast<std::ptrdiff_t>(4 * 8 + 8 + 8 + 8 + 8 * 2 + 2);
  before_lost.resize(parameters);  // the buffers behind them have seen the batches
  after_lost.resize(parameters);
  EXPECT_EQ(after_lost, before_lost);
  EXPECT_THAT(read("run/run.json"), HasSubstr("\"left_out_steps\": 3"));
}

TEST_F(LeftOutStepsTest, EndARunUnlessTheyAreToBeSkipped) {
  ToyTraining parts = make("run");
  EXPECT_THROW(with_lost(parts, {3}).fit(points_, nullptr), train::TrainingHalted);
}

TEST_F(LeftOutStepsTest, TooManyInARowEndIt) {
  ToyTraining parts = make("run", {"--check-finite", "skip", "--epochs", "30"});
  try {
    with_lost(parts, from_on(5)).fit(points_, nullptr);
    FAIL() << "not halted";
  } catch (const train::TrainingHalted& halted) {
    EXPECT_THAT(halted.what(), AllOf(HasSubstr("100 steps in a row were left out, the last of them step 104"),
                                     HasSubstr("gradients are not finite")));
  }
}

TEST_F(LeftOutStepsTest, AResumedRunCountsOn) {
  ToyTraining undisturbed = make("undisturbed", {"--check-finite", "skip"});
  with_lost(undisturbed, {3, 10}).fit(points_, nullptr);
  ToyTraining first = make("run", {"--check-finite", "skip"});
  train::Trainer stopped = with_lost(first, {3, 10});
  stopped.add_callback(std::make_shared<LossRecorder>(&first.session, 4));
  EXPECT_THROW(stopped.fit(points_, nullptr), train::Interrupted);
  first.session.close();
  ToyTraining second = make("run", {"--check-finite", "skip", "--resume"});
  const FitResult result = with_lost(second, {3, 10}, 5).fit(points_, nullptr);
  EXPECT_EQ(result.left_out_steps, 2);
  EXPECT_EQ(second.weights(), undisturbed.weights());
}

}  // namespace
}  // namespace bunchtrain::test
