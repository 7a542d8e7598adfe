// SPDX-License-Identifier: Apache-2.0
// The ways in which a run ends before its last epoch, and how it goes on.

#include <gmock/gmock.h>

#include <cmath>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/early_stopping.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using test::AfterStep;
using test::FinishAfter;
using test::ListedScores;
using test::LossRecorder;
using test::make_points;
using test::ToyTraining;
using testing::HasSubstr;

/// 200 points in batches of 32: 7 steps an epoch, 3 epochs.
class RunEndTest : public test::TrainerFixture {
 protected:
  static constexpr std::int64_t kSteps = 21;
  const data::DatasetPtr points_ = make_points(200), others_ = make_points(150, 2);

  std::vector<double> undisturbed() {
    ToyTraining training = make("undisturbed");
    training.trainer.fit(points_, others_);
    return training.weights();
  }
  void expect_epochs_as_undisturbed(const std::string& run) const {
    const auto expected = records("undisturbed", "epoch"), found = records(run, "epoch");
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      for (const char* name :
           {"epoch", "step", "train_loss", "valid_loss", "valid_auc", "valid_accuracy", "learning_rate"})
        EXPECT_EQ(report::number(found[i], name), report::number(expected[i], name)) << name;
    expect_steps(run, kSteps);
  }
  std::string halt_of(ToyTraining& training) { return halt_of(training.trainer); }
  std::string halt_of(Trainer& trainer) {
    try {
      trainer.fit(points_, others_);
      return "not halted";
    } catch (const TrainingHalted& halted) {
      return halted.message();
    }
  }
};

TEST_F(RunEndTest, ACallbackFinishesARunInOrder) {
  ToyTraining training = make("finished");
  training.trainer.add_callback(std::make_shared<FinishAfter>(4));
  const FitResult result = training.trainer.fit(points_, others_);
  EXPECT_EQ(result.finished_early, "good enough");
  EXPECT_EQ(result.steps, 5);
  ASSERT_TRUE(result.validation);
  EXPECT_THAT(result.validation->text, HasSubstr("150 labelled samples"));
  EXPECT_TRUE(checkpoint::read_info(snapshot("finished", 5)).metric);
  EXPECT_THAT(read("finished/run.json"), HasSubstr("good enough"));
  EXPECT_EQ(records("finished", "epoch").size(), 1U);

  training.session.close();
  const auto expected = undisturbed();
  ToyTraining again = make("finished", {"--resume"});
  EXPECT_EQ(again.trainer.fit(points_, others_).finished_early, "");
  EXPECT_EQ(again.weights(), expected);
  expect_epochs_as_undisturbed("finished");
}

TEST_F(RunEndTest, PatienceFinishesWhenTheScoreStopsGrowing) {
  ToyTraining parts = make("patient", {"--patience", "2"});
  auto scores = std::make_shared<ListedScores>(std::vector<double>{0.5, 0.7, 0.6, 0.65, 0.9, 0.9});
  const ManualStep step = [](const Batch&) -> std::vector<LossTerm> { return {{"loss", 1.0}}; };
  Trainer trainer(parts.session, {{"model", &parts.parallel, &parts.optimizer}}, step, scores,
                  {.epochs = 6, .batch = 100});
  const FitResult result = trainer.fit(points_, others_);
  EXPECT_EQ(result.epochs, 4);
  EXPECT_THAT(result.finished_early, HasSubstr("2 epochs without a better valid_listed (best 0.7)"));
  EXPECT_EQ(read("patient/checkpoints/best"), "step-000004\n");
}

TEST_F(RunEndTest, PatienceSurvivesAResume) {
  const ManualStep step = [](const Batch&) -> std::vector<LossTerm> { return {{"loss", 1.0}}; };
  const auto run = [&](std::vector<std::string> flags, std::vector<double> scores, bool stop) {
    flags.insert(flags.end(), {"--patience", "2"});
    ToyTraining parts = make("patient", flags);
    Trainer trainer(parts.session, {{"model", &parts.parallel, &parts.optimizer}}, step,
                    std::make_shared<ListedScores>(scores), {.epochs = 6, .batch = 100});
    if (stop) trainer.add_callback(std::make_shared<LossRecorder>(&parts.session, 6));
    return trainer.fit(points_, others_);
  };
  EXPECT_THROW(run({}, {0.5, 0.7, 0.6}, true), Interrupted);  // after epoch 3, before its validation
  const FitResult result = run({"--resume"}, {0.6, 0.65}, false);
  EXPECT_EQ(result.epochs, 4);
  EXPECT_THAT(result.finished_early, HasSubstr("best 0.7"));
  EXPECT_EQ(run({"--resume"}, {0.65}, false).epochs, 4) << "a run that was finished early is finished";
}

TEST_F(RunEndTest, PatienceNeedsAValidation) {
  EXPECT_THROW(make("none", {"--patience", "2"}).trainer.fit(points_, nullptr), ConfigError);
  EXPECT_THROW(make("negative", {"--patience", "-1"}).trainer.fit(points_, others_), ConfigError);
}

TEST_F(RunEndTest, TheProgramsOwnWishToStopIsNoSignal) {
  ToyTraining training = make("stopped");
  training.trainer.add_callback(std::make_shared<LossRecorder>(&training.session, 2));
  try {
    training.trainer.fit(points_, others_);
    FAIL() << "not stopped";
  } catch (const Interrupted& interrupted) {
    EXPECT_EQ(interrupted.signal, 0);
  }
  EXPECT_FALSE(checkpoint::read_info(snapshot("stopped", 3)).judged);
}

/// The toy training with something that happens in every validation batch.
Trainer with_hook(ToyTraining& parts, std::function<void()> in_validation) {
  const auto objective = [&parts, in_validation](const NamedTensors& outputs, const Batch& batch) {
    if (!parts.network->is_training()) in_validation();
    return classification()(outputs, batch);
  };
  return Trainer(parts.session, parts.parallel, parts.optimizer, objective, {.epochs = 3, .batch = 32});
}

TEST_F(RunEndTest, AnEpochIsSavedBeforeItIsJudged) {
  const auto expected = undisturbed();
  for (const std::int64_t epoch : {1, 2, 3}) {
    const std::string run = "faulty" + std::to_string(epoch);
    ToyTraining first = make(run);
    auto steps = std::make_shared<LossRecorder>();
    Trainer faulty = with_hook(first, [&] {
      if (std::ssize(steps->losses) == 7 * epoch) throw DataError("rows 3 to 7 of valid.h5 cannot be read");
    });
    faulty.add_callback(steps);
    EXPECT_THROW(faulty.fit(points_, others_), DataError);
    EXPECT_FALSE(checkpoint::read_info(snapshot(run, 7 * epoch)).judged);
    EXPECT_EQ(std::ssize(records(run, "epoch")), epoch - 1);

    first.session.close();
    ToyTraining second = make(run, {"--resume"});
    auto steps_again = std::make_shared<LossRecorder>();
    second.trainer.add_callback(steps_again);
    second.trainer.fit(points_, others_);
    EXPECT_EQ(std::ssize(steps_again->losses), kSteps - 7 * epoch) << "a step was trained again";
    EXPECT_EQ(second.weights(), expected);
    EXPECT_EQ(checkpoint::read_info(snapshot(run, 7 * epoch)).metric,
              checkpoint::read_info(snapshot("undisturbed", 7 * epoch)).metric);
    EXPECT_EQ(read(run + "/checkpoints/best"), read("undisturbed/checkpoints/best"));
    expect_epochs_as_undisturbed(run);
  }
}

TEST_F(RunEndTest, AKillAfterTheRecordAndBeforeTheJudgementDoublesNothing) {
  const auto expected = undisturbed();
  ToyTraining first = make("killed");
  class Fault : public Callback {
    void on_epoch(const report::EpochRow& row) override {
      if (row.epoch == 2) throw Error("here a kill would strike");
    }
  };
  first.trainer.add_callback(std::make_shared<Fault>());
  EXPECT_THROW(first.trainer.fit(points_, others_), Error);
  EXPECT_EQ(records("killed", "epoch").size(), 2U);
  first.session.close();
  ToyTraining second = make("killed", {"--resume"});
  second.trainer.fit(points_, others_);
  EXPECT_EQ(second.weights(), expected);
  expect_epochs_as_undisturbed("killed");
}

TEST_F(RunEndTest, AStopRequestBreaksAValidationOff) {
  const auto expected = undisturbed();
  ToyTraining first = make("stopped");
  std::int64_t batches = 0;
  Trainer stopped = with_hook(first, [&] {
    ++batches;
    first.session.request_stop();
  });
  EXPECT_THROW(stopped.fit(points_, make_points(32 * 20, 2)), Interrupted);
  EXPECT_LT(batches, 4) << "of 20";
  EXPECT_FALSE(checkpoint::read_info(snapshot("stopped", 7)).judged);
  first.session.close();
  ToyTraining second = make("stopped", {"--resume", "--allow-changed"});  // other validation data
  second.trainer.fit(points_, others_);
  EXPECT_EQ(second.weights(), expected);
  expect_epochs_as_undisturbed("stopped");
}

TEST_F(RunEndTest, ARateThatLosesTheNetworksIsMendedAsTheMessageSays) {
  // The first update makes weights of 1e160, whose products overflow in the second step: the loss is finite,
  // for the norm scales it, its gradients are not.
  for (const char* every : {"1", "1000"}) {
    const std::string run = "lost" + std::string(every);
    ToyTraining first =
        make(run, {"--learning-rate", "1e160", "--keep-last", "1", "--checkpoint-every", every});
    const std::string message = halt_of(first);
    EXPECT_THAT(message, HasSubstr("not finite at step 2"));
    EXPECT_THAT(
        message,
        HasSubstr("There is no snapshot from before: start again by resume with a lower learning_rate"));
    first.session.close();
    ToyTraining second = make(run, {"--resume", "--learning-rate", "0.05"});
    EXPECT_EQ(second.trainer.fit(points_, others_).steps, kSteps);
    EXPECT_TRUE(std::filesystem::exists(root_ / run / "metrics.jsonl.before-1"));
    expect_steps(run, kSteps);
  }
}

TEST_F(RunEndTest, TheSnapshotBeforeTheLossWasLostIsKeptAndNamed) {
  ToyTraining first = make("lost", {"--keep-last", "1", "--checkpoint-every", "1"});
  first.trainer.add_callback(std::make_shared<AfterStep>([&](const StepEvent& event) {
    if (event.step != 4) return;
    const at::NoGradGuard no_gradients;  // finite weights, whose output is not
    first.network->second->weight.fill_(1e300);
    first.network->first->weight.fill_(1e300);
  }));
  const std::string message = halt_of(first);
  EXPECT_THAT(message, HasSubstr("not finite at step 5"));
  EXPECT_THAT(message, HasSubstr("is that of step 3: go on from it by resume allow_changed"));
  EXPECT_FALSE(std::filesystem::exists(snapshot("lost", 4))) << "it waited for a loss that is finite";
  EXPECT_TRUE(checkpoint::read_info(snapshot("lost", 3)).lost.empty());

  first.session.close();
  ToyTraining second = make("lost", {"--resume", "--allow-changed", "--learning-rate", "0.01"});
  EXPECT_EQ(second.trainer.fit(points_, others_).steps, kSteps);
  expect_steps("lost", kSteps);
}

TEST_F(RunEndTest, WeightsThatAreNotFiniteAreNotSaved) {
  ToyTraining training = make("lost", {"--checkpoint-every", "2"});
  training.trainer.add_callback(std::make_shared<AfterStep>([&](const StepEvent& event) {
    const at::NoGradGuard no_gradients;
    if (event.step == 4) training.network->second->bias.fill_(std::nan(""));
  }));
  const std::string message = halt_of(training);
  EXPECT_THAT(message, HasSubstr("weights are not finite after step 4 (model: second.bias)"));
  EXPECT_THAT(message, HasSubstr("is that of step 2"));
  EXPECT_FALSE(std::filesystem::exists(snapshot("lost", 4)));
}

TEST_F(RunEndTest, AValidationOfLostNetworksHalts) {
  ToyTraining training = make("lost", {"--checkpoint-every", "3"});
  training.trainer.add_callback(std::make_shared<AfterStep>([&](const StepEvent& event) {
    if (event.step != 7) return;
    const at::NoGradGuard no_gradients;
    training.network->second->weight.fill_(1e300);
    training.network->first->weight.fill_(1e300);
  }));
  const std::string message = halt_of(training);
  EXPECT_THAT(message, HasSubstr("after step 7: "));
  EXPECT_THAT(message, HasSubstr("scores that are not finite"));
  EXPECT_THAT(message, HasSubstr("is that of step 6"));
  training.session.close();
  ToyTraining second = make("lost", {"--resume"});
  EXPECT_EQ(second.trainer.fit(points_, others_).steps, kSteps);
}

TEST_F(RunEndTest, TheGradientNormIsRecordedWhereItIsKnown) {
  ToyTraining training = make("norms");
  double last = 0;
  training.trainer.add_callback(
      std::make_shared<AfterStep>([&](const StepEvent& event) { last = event.gradient_norm; }));
  training.trainer.fit(points_, nullptr);
  for (const auto& record : records("norms", "step")) EXPECT_GT(report::number(record, "gradient_norm"), 0);
  double sum = 0;
  for (const auto& parameter : training.network->parameters())
    sum += parameter.grad().square().sum().item<double>();
  EXPECT_NEAR(last, std::sqrt(sum), 1e-12);

  ToyTraining parts = make("manual");
  const ManualStep step = [](const Batch&) -> std::vector<LossTerm> { return {{"loss", 1.0}}; };
  Trainer(parts.session, {{"model", &parts.parallel, &parts.optimizer}}, step, nullptr, {.epochs = 1})
      .fit(points_, nullptr);
  for (const auto& record : records("manual", "step"))
    EXPECT_EQ(report::find(record, "gradient_norm"), nullptr);
}

/// The flag is the same: it is the programs' networks that differ.
TEST_F(RunEndTest, AnotherPrecisionIsNamedFirst) {
  ToyTraining first = make("run", {"--precision", "float32"});
  first.network->to(at::kFloat);
  parallel::DataParallel parallel(first.network, first.session.world());
  optim::AdamW optimizer(parallel, {.learning_rate = 0.05});
  Trainer trainer(first.session, parallel, optimizer, classification(), {.epochs = 3, .batch = 32});
  trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 3));
  EXPECT_THROW(trainer.fit(points_, nullptr), Interrupted);
  first.session.close();
  ToyTraining second = make("run", {"--resume", "--precision", "float32"});
  try {
    second.trainer.fit(points_, nullptr);
    FAIL() << "float32 weights were put into float64";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("was trained in float32, this run would train in float64"));
    EXPECT_THAT(error.what(), HasSubstr("precision = float32"));
  }
}

}  // namespace
}  // namespace bunchtrain::train
