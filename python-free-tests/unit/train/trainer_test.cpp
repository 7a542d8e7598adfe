// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/trainer.hpp"

#include <gtest/gtest.h>

#include "../../support/toy_training.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "bunchtrain/train/stop_signal.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::make_points;
using test::ToyTraining;

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }
  ToyTraining make(const std::string& run, std::vector<std::string> flags = {},
                   TrainerOptions options = {.epochs = 3, .batch = 32}) {
    return ToyTraining(mpi::Comm::self(), root_ / run, std::move(flags), std::move(options));
  }
  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) / "trainer_test";
};

TEST_F(TrainerTest, LearnsAndFillsTheRunFolder) {
  ToyTraining training = make("run", {}, {.epochs = 6, .batch = 32});
  auto losses = std::make_shared<LossRecorder>();
  training.trainer.add_callback(losses);
  const FitResult result = training.trainer.fit(make_points(500), make_points(100, 2));
  EXPECT_EQ(result.epochs, 6);
  EXPECT_EQ(result.steps, 6 * 16);
  EXPECT_LT(result.train_loss, 0.5 * losses->losses.front());
  for (const char* name : {"run.json", "metrics.jsonl", "report.html", "events", "checkpoints"})
    EXPECT_TRUE(std::filesystem::exists(root_ / "run" / name)) << name;
  std::int64_t steps = 0, epochs = 0;
  for (const auto& record : report::read_jsonl(root_ / "run" / "metrics.jsonl")) {
    steps += report::text(record, "kind") == "step";
    epochs += report::text(record, "kind") == "epoch";
  }
  EXPECT_EQ(steps, 6 * 16);
  EXPECT_EQ(epochs, 6);
}

TEST_F(TrainerTest, ResumeEndsWithTheSameBitsWhereverItStopped) {
  ToyTraining undisturbed = make("undisturbed");
  undisturbed.trainer.fit(make_points(200), make_points(50, 2));
  for (const std::int64_t stop_after : {1, 5, 7, 13}) {
    const std::string run = "stopped" + std::to_string(stop_after);
    ToyTraining first = make(run);
    first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, stop_after));
    EXPECT_THROW(first.trainer.fit(make_points(200), make_points(50, 2)), Interrupted);
    ToyTraining second = make(run, {"--resume"});
    const FitResult result = second.trainer.fit(make_points(200), make_points(50, 2));
    EXPECT_EQ(result.steps, 21);
    EXPECT_EQ(second.weights(), undisturbed.weights()) << "stopped after step " << stop_after;
    EXPECT_EQ(report::read_jsonl(root_ / run / "metrics.jsonl").size(), 24U);
  }
}

TEST_F(TrainerTest, SnapshotsBetweenEpochsChangeNothing) {
  ToyTraining plain = make("plain");
  plain.trainer.fit(make_points(200), nullptr);
  ToyTraining often = make("often", {"--checkpoint-every", "2"});
  often.trainer.fit(make_points(200), nullptr);
  EXPECT_EQ(plain.weights(), often.weights());
}

TEST_F(TrainerTest, ResumingAFinishedRunShowsItsResultAgain) {
  ToyTraining first = make("finished");
  const FitResult before = first.trainer.fit(make_points(200), make_points(50, 2));
  ToyTraining second = make("finished", {"--resume"});
  const FitResult after = second.trainer.fit(make_points(200), make_points(50, 2));
  ASSERT_TRUE(before.validation && after.validation);
  EXPECT_EQ(after.validation->auc, before.validation->auc);
  EXPECT_EQ(after.steps, before.steps);
}

TEST_F(TrainerTest, ResumingOtherDataIsRefused) {
  ToyTraining first = make("run");
  first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 3));
  EXPECT_THROW(first.trainer.fit(make_points(200), nullptr), Interrupted);
  ToyTraining second = make("run", {"--resume"});
  EXPECT_THROW(second.trainer.fit(make_points(210), nullptr), CheckpointError);
}

TEST_F(TrainerTest, RatesFollowTheScheduleAndTheBatch) {
  ToyTraining training = make("rates", {"--reference-batch", "16"},
                              {.epochs = 2, .batch = 32, .schedule = optim::ScheduleKind::constant});
  auto recorder = std::make_shared<LossRecorder>();
  training.trainer.add_callback(recorder);
  training.trainer.fit(make_points(64), nullptr);
  ASSERT_EQ(recorder->rates.size(), 4U);
  for (const double rate : recorder->rates) EXPECT_DOUBLE_EQ(rate, 0.1);
}

TEST_F(TrainerTest, TrainsSeveralNetworksByAManualStep) {
  ToyTraining parts = make("manual");
  test::Network other(9);
  parallel::DataParallel other_parallel(other, parts.session.world());
  optim::AdamW other_optimizer(other_parallel, {.learning_rate = 0.02});
  std::int64_t calls = 0;
  const ManualStep both = [&](const data::Batch& batch) -> std::vector<LossTerm> {
    ++calls;
    auto first = classify(parts.network->forward(batch["x"]), batch);
    parts.parallel.backward(first.loss, {.samples = batch.size(), .global_samples = batch.global_size()});
    parts.optimizer.step();
    auto second = classify(other->forward(batch["x"]) + parts.network->forward(batch["x"]).detach(), batch);
    other_parallel.backward(second.loss, {.samples = batch.size(), .global_samples = batch.global_size()});
    other_optimizer.step();
    return {{"first", first.loss.item<double>()}, {"second", second.loss.item<double>()}};
  };
  Trainer trainer(
      parts.session,
      {{"first", &parts.parallel, &parts.optimizer}, {"second", &other_parallel, &other_optimizer}}, both,
      parts.step(), {.epochs = 2, .batch = 32});
  const auto before = other->first->weight.detach().clone();
  const FitResult result = trainer.fit(make_points(96), nullptr);
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(result.steps, 6);
  EXPECT_FALSE(before.equal(other->first->weight));
}

TEST_F(TrainerTest, AnEmptyDatasetIsRefused) {
  ToyTraining training = make("empty");
  EXPECT_THROW(training.trainer.fit(nullptr, nullptr), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
