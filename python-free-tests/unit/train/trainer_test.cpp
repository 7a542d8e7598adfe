// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/trainer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <utility>

#include "../../support/toy_training.hpp"
#include "bunchtrain/checkpoint/store.hpp"
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
    first.session.close();
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
  first.session.close();
  const auto half_removed = root_ / "finished" / "checkpoints" / "step-000001.partial";
  std::filesystem::create_directories(half_removed);  // by a kill while the last snapshot was tidied up after
  ToyTraining second = make("finished", {"--resume"});
  const FitResult after = second.trainer.fit(make_points(200), make_points(50, 2));
  ASSERT_TRUE(before.validation && after.validation);
  ASSERT_EQ(after.validation->score_name, "valid_auc");
  EXPECT_EQ(*after.validation->score, *before.validation->score);
  EXPECT_EQ(after.steps, before.steps);
  EXPECT_FALSE(std::filesystem::exists(half_removed));
}

TEST_F(TrainerTest, ResumingOtherDataIsRefused) {
  ToyTraining first = make("run");
  first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 3));
  EXPECT_THROW(first.trainer.fit(make_points(200), nullptr), Interrupted);
  first.session.close();
  ToyTraining second = make("run", {"--resume"});
  EXPECT_THROW(second.trainer.fit(make_points(210), nullptr), ConfigError);
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

/// The points of `make_points` with changed tensors.
data::DatasetPtr points_with(const std::string& name, const std::function<at::Tensor(std::int64_t)>& make) {
  const auto points = make_points(200);
  NamedTensors tensors;
  for (const char* kept : {"x", "label"}) {
    std::vector<at::Tensor> parts;
    for (std::size_t range = 0; range < points->ranges().size(); ++range)
      parts.push_back(points->read(range).tensors[kept]);
    tensors.set(kept, at::cat(parts));
  }
  tensors.set(name, make(200));
  return data::make_memory_dataset(std::move(tensors), 16);
}

TEST_F(TrainerTest, TheScaleOfWeightsChangesNoLoss) {
  std::vector<double> expected;
  for (const double scale : {1.0, 1e-300, 1e-30, 1e-9, 1e5, 1e30, 1e300}) {
    ToyTraining training = make("scale", {}, {.epochs = 2, .batch = 32});
    std::filesystem::remove_all(root_ / "scale");
    auto recorder = std::make_shared<LossRecorder>();
    training.trainer.add_callback(recorder);
    training.trainer.fit(points_with("weight",
                                     [scale](std::int64_t count) {
                                       return (1 + at::arange(count, at::kDouble).remainder(5)) * scale;
                                     }),
                         nullptr);
    if (expected.empty()) expected = recorder->losses;
    ASSERT_EQ(recorder->losses.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(recorder->losses[i], expected[i], 1e-6 * expected[i]) << scale << " step " << i;
  }
}

TEST_F(TrainerTest, NegativeWeightsCountWithTheirSign) {
  ToyTraining training = make("negative");
  const auto points = points_with("weight", [](std::int64_t count) {
    return at::arange(count, at::kDouble).remainder(4).ne(0).to(at::kDouble) * 1.5 - 0.5;
  });
  const auto batch = points->read(0);
  Batch share;
  share.tensors = batch.tensors;
  const at::Tensor loss = loss_of(training.network, share);
  double expected = 0;
  const at::Tensor logits = training.network->forward(batch.tensors["x"]).log_softmax(1);
  for (std::int64_t i = 0; i < 16; ++i)
    expected -= (i % 4 == 0 ? -0.5 : 1.0) / 0.875 *
                logits[i][batch.tensors["label"][i].item<std::int64_t>()].item<double>();
  EXPECT_NEAR(loss.item<double>(), expected / 16, 1e-9) << "sum of w * loss over the number of samples";
}

TEST_F(TrainerTest, AClassifierNeedsTwoClasses) {
  ToyTraining training = make("one-class");
  const auto points = points_with("label", [](std::int64_t count) { return at::ones({count}, at::kLong); });
  try {
    training.trainer.fit(points, nullptr);
    FAIL() << "not refused";
  } catch (const DataError& error) {
    EXPECT_NE(error.message().find("nothing to learn: all 200 jets of the training data are '1'"),
              std::string::npos)
        << error.message();
  }
}

TEST_F(TrainerTest, TheValidationLossIsWeightedAsTrainingUnlessAskedOtherwise) {
  const auto points = points_with(
      "weight", [](std::int64_t count) { return at::arange(count, at::kDouble).remainder(3) + 0.5; });
  for (const bool weighted : {true, false}) {
    ToyTraining training = make(weighted ? "card" : "none", {"--valid-weights", weighted ? "card" : "none"},
                                {.epochs = 1, .batch = 50});
    const FitResult result = training.trainer.fit(points, points);
    const at::NoGradGuard no_gradients;
    training.network->eval();
    double sum = 0;
    for (std::size_t range = 0; range < points->ranges().size(); ++range) {
      Batch batch;
      for (const auto& [name, tensor] : points->read(range).tensors)
        if (weighted || name != "weight") batch.tensors.set(name, tensor);
      sum += loss_of(training.network, batch).item<double>() * static_cast<double>(batch["x"].size(0));
    }
    EXPECT_NEAR(*result.validation->loss, sum / 200, 1e-9);
    const std::string& text = result.validation->text;
    EXPECT_NEAR(*result.validation->loss, std::stod(text.substr(text.find("loss ") + 5)), 5.1e-5) << text;
  }
}

TEST_F(TrainerTest, EachSampleCountsOnceInTheValidationLossWhateverItsBatch) {
  ToyTraining parts = make("own");
  const nn::Objective own = [&](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
    return classification()(outputs, batch).total * 0 + (batch.size() == 16 ? 5.0 : 1.0);
  };
  Trainer trainer(parts.session, parts.parallel, parts.optimizer, own, {.epochs = 1, .batch = 32});
  const FitResult result = trainer.fit(make_points(64), make_points(80, 2));
  EXPECT_DOUBLE_EQ(*result.validation->loss, (64 * 1.0 + 16 * 5.0) / 80);
}

TEST_F(TrainerTest, WithoutAValidationTheObjectiveChoosesTheBest) {
  ToyTraining parts = make("plain");
  parts.trainer.use_validation(nullptr);
  const FitResult result = parts.trainer.fit(make_points(200), make_points(50, 2));
  ASSERT_TRUE(result.validation && result.validation->loss);
  EXPECT_EQ(result.validation->score_name, "negative valid_loss");
  EXPECT_EQ(*result.validation->score, -*result.validation->loss);
  EXPECT_TRUE(result.validation->metrics.empty());
}

TEST_F(TrainerTest, HeadsAreRecordedByName) {
  ToyTraining parts = make("heads");
  const nn::Objective two = [](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
    const at::Tensor flavour = classification()(outputs, batch).total,
                     size = outputs["logits"].square().mean();
    return {flavour + 0.5 * size, {{"flavour", flavour}, {"size", size}}};
  };
  Trainer trainer(parts.session, parts.parallel, parts.optimizer, two,
                  {.epochs = 1, .batch = 32, .accumulate = 2});
  trainer.fit(make_points(64), nullptr);
  const auto records = report::read_jsonl(root_ / "heads" / "metrics.jsonl");
  ASSERT_EQ(records.size(), 3U) << "two steps and the epoch";
  for (const auto& step : std::span(records).first(2))
    EXPECT_NEAR(report::number(step, "loss_flavour") + 0.5 * report::number(step, "loss_size"),
                report::number(step, "loss"), 1e-12);
}

TEST_F(TrainerTest, ANetworkThatIsNoModelIsToldSo) {
  ToyTraining parts = make("plain-module");
  torch::nn::Linear plain(4, 2);
  plain->to(at::kDouble);
  parallel::DataParallel parallel(plain, parts.session.world());
  optim::AdamW optimizer(parallel, {});
  Trainer trainer(parts.session, parallel, optimizer, classification(), {.epochs = 1, .batch = 32});
  EXPECT_THROW(trainer.fit(make_points(64), nullptr), ConfigError);

  parallel::DataParallel called(plain, parts.session.world(),
                                {.forward = [plain](const NamedTensors& inputs) mutable -> NamedTensors {
                                  return {{"logits", plain(inputs["x"])}};
                                }});
  optim::AdamW other(called, {});
  ToyTraining session = make("called");
  EXPECT_EQ(Trainer(session.session, called, other, classification(), {.epochs = 1, .batch = 32})
                .fit(make_points(64), nullptr)
                .steps,
            2);
}

TEST_F(TrainerTest, TrainsSeveralNetworksByAManualStep) {
  ToyTraining parts = make("manual");
  test::Network other(9);
  parallel::DataParallel other_parallel(other, parts.session.world());
  optim::AdamW other_optimizer(other_parallel, {.learning_rate = 0.02});
  std::int64_t calls = 0;
  const ManualStep both = [&](const Batch& batch) -> std::vector<LossTerm> {
    ++calls;
    const at::Tensor first = loss_of(parts.network, batch);
    parts.parallel.backward(first, {.samples = batch.size(), .global_samples = batch.global_size()});
    parts.optimizer.step();
    const at::Tensor logits = other->forward(batch["x"]) + parts.network->forward(batch["x"]).detach();
    const at::Tensor second = classification()({{"logits", logits}}, batch).total;
    other_parallel.backward(second, {.samples = batch.size(), .global_samples = batch.global_size()});
    other_optimizer.step();
    return {{"first", first.item<double>()}, {"second", second.item<double>()}};
  };
  Trainer trainer(
      parts.session,
      {{"first", &parts.parallel, &parts.optimizer}, {"second", &other_parallel, &other_optimizer}}, both,
      nullptr, {.epochs = 2, .batch = 32});
  const auto before = other->first->weight.detach().clone();
  const FitResult result = trainer.fit(make_points(96), nullptr);
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(result.steps, 6);
  EXPECT_FALSE(before.equal(other->first->weight));
}

/// A step that trains nothing and reports losses as the test wants them.
class ReportedLossesTest : public TrainerTest {
 protected:
  Trainer make_trainer(ToyTraining& parts, std::function<double(std::int64_t)> second, TrainerOptions options,
                       std::shared_ptr<Validation> validation = nullptr) {
    auto step = [calls = std::int64_t{0}, second](const Batch&) mutable -> std::vector<LossTerm> {
      ++calls;
      return {{"gan_first", static_cast<double>(calls)}, {"gan_second", second(calls)}};
    };
    return Trainer(parts.session, {{"gan", &parts.parallel, &parts.optimizer}}, step, std::move(validation),
                   std::move(options));
  }
};

TEST_F(ReportedLossesTest, EveryTermIsKeptPerStepAndPerEpoch) {
  ToyTraining parts = make("terms");
  make_trainer(parts, [](std::int64_t call) { return 10.0 * static_cast<double>(call); },
               {.epochs = 2, .batch = 32})
      .fit(make_points(64), nullptr);
  const auto records = report::read_jsonl(root_ / "terms" / "metrics.jsonl");
  ASSERT_EQ(records.size(), 6U);
  EXPECT_EQ(report::number(records[1], "loss"), 2);
  EXPECT_EQ(report::number(records[1], "loss_gan_second"), 20);
  const auto row = report::parse_epoch_row(records[5]);
  ASSERT_TRUE(row);
  ASSERT_EQ(row->losses.size(), 2U);
  EXPECT_EQ(row->losses[0].name, "gan_first");
  EXPECT_EQ(row->losses[1].value, 35);
}

TEST_F(ReportedLossesTest, EpochMeansSurviveAResume) {
  const auto second = [](std::int64_t call) { return static_cast<double>(call); };
  ToyTraining first = make("stopped");
  Trainer trainer = make_trainer(first, second, {.epochs = 1, .batch = 16});
  trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 2));
  EXPECT_THROW(trainer.fit(make_points(64), nullptr), Interrupted);
  first.session.close();
  ToyTraining again = make("stopped", {"--resume"});
  make_trainer(again, second, {.epochs = 1, .batch = 16}).fit(make_points(64), nullptr);
  const auto row = report::parse_epoch_row(report::read_jsonl(root_ / "stopped" / "metrics.jsonl").back());
  ASSERT_TRUE(row);
  EXPECT_EQ(row->losses[1].value, (1 + 2 + 3 + 1) / 4.0);  // the new process counts its calls from 1 again
}

TEST_F(ReportedLossesTest, AHaltLeavesASnapshotAndSaysWhy) {
  ToyTraining parts = make("halted");
  Trainer trainer =
      make_trainer(parts, [](std::int64_t call) { return call == 3 ? 100.0 : 50.0; },
                   {.epochs = 5, .batch = 32, .halt_when = [](const StepEvent& event) {
                      return event.terms[1].value == 100 ? std::string("collapsed") : std::string();
                    }});
  try {
    trainer.fit(make_points(64), nullptr);
    FAIL() << "not halted";
  } catch (const TrainingHalted& halted) {
    EXPECT_NE(halted.message().find("collapsed (step 3"), std::string::npos) << halted.message();
  }
  EXPECT_TRUE(std::filesystem::exists(root_ / "halted" / "checkpoints" / "step-000003"));
}

TEST_F(ReportedLossesTest, ALossThatIsNotFiniteEndsTheRunAndSparesTheSnapshotBefore) {
  ToyTraining parts = make("lost");
  Trainer trainer = make_trainer(parts, [](std::int64_t call) { return call == 4 ? std::nan("") : 1.0; },
                                 {.epochs = 5, .batch = 32});
  try {
    trainer.fit(make_points(64), nullptr);
    FAIL() << "not halted";
  } catch (const TrainingHalted& halted) {
    EXPECT_NE(halted.message().find("not finite at step 4"), std::string::npos) << halted.message();
  }
  EXPECT_TRUE(std::filesystem::exists(root_ / "lost" / "checkpoints" / "step-000002"));
  EXPECT_FALSE(std::filesystem::exists(root_ / "lost" / "checkpoints" / "step-000004"));
}

TEST_F(ReportedLossesTest, ASnapshotThatARunFailsAgainAfterIsGivenUp) {
  // Nobody sees a manual step's gradients: those of step 3 may have spoilt what the
  // snapshot of step 2 begins with.
  const auto message_of = [&](std::int64_t lost_call) {
    ToyTraining parts = make("lost", {"--checkpoint-every", "2", "--resume"});
    Trainer trainer =
        make_trainer(parts, [=](std::int64_t call) { return call == lost_call ? std::nan("") : 1.0; },
                     {.epochs = 1, .batch = 16});
    try {
      trainer.fit(make_points(64), nullptr);
      return std::string("not halted");
    } catch (const TrainingHalted& halted) {
      return halted.message();
    }
  };
  EXPECT_NE(message_of(4).find("is that of step 2: go on"), std::string::npos);
  EXPECT_NE(message_of(2).find("There is no snapshot from before"), std::string::npos) << "step 4 again";
}

/// Counts samples; its score falls from epoch to epoch.
class CountingValidation final : public Validation {
 public:
  void add(const Batch& batch, const NamedTensors&) override { samples_ += batch.size(); }
  ValidationResult finish(comm::Communicator&, std::optional<double>) override {
    const auto seen = std::exchange(samples_, 0);
    return {.metrics = {{"valid_samples", static_cast<double>(seen)}},
            .score = -static_cast<double>(++calls_),
            .sections = {{.title = "Seen", .paragraphs = {"Something."}}},
            .text = "counted\n"};
  }

 private:
  std::int64_t samples_ = 0, calls_ = 0;
};

TEST_F(ReportedLossesTest, AnOwnValidationIsShownAndChoosesTheBestSnapshot) {
  ToyTraining parts = make("judged");
  const FitResult result = make_trainer(
                               parts, [](std::int64_t) { return 1.0; }, {.epochs = 3, .batch = 32},
                               std::make_shared<CountingValidation>())
                               .fit(make_points(64), make_points(21, 2));
  ASSERT_TRUE(result.validation);
  EXPECT_EQ(result.validation->metrics.front().value, 21);
  const auto row = report::parse_epoch_row(report::read_jsonl(root_ / "judged" / "metrics.jsonl").back());
  EXPECT_EQ(row->metrics.front().name, "valid_samples");
  EXPECT_TRUE(std::filesystem::exists(root_ / "judged" / "sections.json"));
  const checkpoint::Store store(root_ / "judged" / "checkpoints", parts.session.agreement());
  EXPECT_EQ(store.load("best")->info.step, 2);
}

TEST_F(TrainerTest, AnEmptyDatasetIsRefused) {
  ToyTraining training = make("empty");
  EXPECT_THROW(training.trainer.fit(nullptr, nullptr), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
