// SPDX-License-Identifier: Apache-2.0
// Observers see a run, and nothing that they do changes it.
#include <gmock/gmock.h>

#include <stdexcept>

#include "bunchtrain/train/observer.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using test::make_points;
using test::ToyTraining;
using testing::ElementsAre;
using testing::HasSubstr;

/// Writes down what it is told, and throws where it is asked to.
class Diary final : public Observer {
 public:
  explicit Diary(std::string name = "diary", std::string faulty = {})
      : name_(std::move(name)), faulty_(std::move(faulty)) {}
  std::string name() const override { return name_; }
  void on_start(const RunPlan& plan, const RunDescription& description) override {
    this->plan = plan;
    EXPECT_THAT(description.json, HasSubstr("\"toy\""));
    write("start");
  }
  void on_step(const StepEvent& event) override { write("step " + std::to_string(event.step)); }
  void on_phase(std::string_view phase, std::int64_t done, std::int64_t total) override {
    if (done == total) write(std::string(phase));
  }
  void on_epoch(const report::EpochRow& row, const ValidationResult* validation) override {
    write("epoch " + std::to_string(row.epoch) + (validation ? " judged" : ""));
  }
  void on_finish(const FitResult& result) override { write("finish " + std::to_string(result.steps)); }
  void on_end() noexcept override { entries.push_back("end"); }

  RunPlan plan;
  std::vector<std::string> entries;

 private:
  void write(const std::string& entry) {
    entries.push_back(entry);
    if (!faulty_.empty() && entry.starts_with(faulty_)) throw std::runtime_error("no more ink");
  }
  std::string name_, faulty_;
};

class WarningsSink : public LogSink {
 public:
  void write(LogLevel level, std::string_view text) override {
    if (level >= LogLevel::warning) warnings += std::string(text) + "\n";
  }
  std::string warnings;
};

using ObserverTest = test::TrainerFixture;

TEST_F(ObserverTest, SeesARunFromItsStartToItsEnd) {
  ToyTraining training = make("run", {}, {.epochs = 1, .batch = 32, .samples = "points"});
  const auto diary = std::make_shared<Diary>();
  training.session.add_observer(diary);
  training.trainer.fit(make_points(64), make_points(40, 2));
  EXPECT_THAT(diary->entries,
              ElementsAre("start", "step 1", "step 2", "validating", "epoch 1 judged", "finish 2", "end"));
  EXPECT_EQ(diary->plan.total_steps, 2);
  EXPECT_EQ(diary->plan.samples, "points");
}

TEST_F(ObserverTest, OneThatFailsCostsOneWarningAndNothingElse) {
  ToyTraining plain = make("plain");
  plain.trainer.fit(make_points(200), make_points(50, 2));
  for (const std::string faulty : {"start", "step", "epoch", "finish", "validating"}) {
    const auto sink = std::make_shared<WarningsSink>();
    Session session =
        app::open_session(ToyTraining::parse(root_ / faulty, {}), mpi::Comm::self(), Logger(sink));
    test::Network network;
    parallel::DataParallel parallel(network, session.world());
    optim::AdamW optimizer(parallel, {.learning_rate = 0.05});
    const auto diary = std::make_shared<Diary>("diary", faulty);
    session.add_observer(diary);
    Trainer trainer(session, parallel, optimizer, classification(), {.epochs = 3, .batch = 32});
    EXPECT_EQ(trainer.fit(make_points(200), make_points(50, 2)).steps, 21);
    EXPECT_TRUE(network->first->weight.equal(plain.network->first->weight)) << faulty;
    EXPECT_EQ(sink->warnings, "observer 'diary' failed: no more ink; the run goes on\n");
    EXPECT_EQ(diary->entries.back(), "end");
  }
}

TEST_F(ObserverTest, TheEndIsToldAfterAnError) {
  ToyTraining training = make("stopped");
  const auto diary = std::make_shared<Diary>();
  training.session.add_observer(diary);
  training.trainer.add_callback(std::make_shared<test::LossRecorder>(&training.session, 2));
  EXPECT_THROW(training.trainer.fit(make_points(200), nullptr), Interrupted);
  EXPECT_EQ(diary->entries.back(), "end");
  EXPECT_THAT(diary->entries, testing::Not(testing::Contains("finish 2")));
}

TEST_F(ObserverTest, TwoOfOneNameAreRefused) {
  ToyTraining training = make("twins");
  training.session.add_observer(std::make_shared<Diary>());
  training.session.add_observer(std::make_shared<Diary>());
  try {
    training.trainer.fit(make_points(64), nullptr);
    FAIL() << "not refused";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.message(), HasSubstr("diary"));
  }
}

TEST_F(ObserverTest, ALibraryRunWritesNothingToStandardOutput) {
  testing::internal::CaptureStdout();
  ToyTraining training = make("silent");
  training.trainer.fit(make_points(64), make_points(40, 2));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

}  // namespace
}  // namespace bunchtrain::train
