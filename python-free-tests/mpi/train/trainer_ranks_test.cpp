// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <thread>

#include "../../support/toy_training.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/train/stop_signal.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::make_points;
using test::ToyTraining;

/// The main program of the tests has initialised MPI: this only joins it.
const mpi::Comm& world() {
  static const mpi::Environment environment;
  return environment.world();
}

class TrainerRanksTest : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  void clear() {
    world().barrier();
    if (world().rank() == 0) std::filesystem::remove_all(root_);
    world().barrier();
  }
  /// One folder for all ranks, another one for every job.
  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) /
                                      ("trainer_ranks_" + world().broadcast(std::to_string(getpid())));
};

TEST_F(TrainerRanksTest, AnyNumberOfRanksComputesTheSameLosses) {
  // One rank by itself is the reference; every rank computes it, in a folder of its own.
  ToyTraining alone(mpi::Comm::self(), root_ / ("alone" + std::to_string(world().rank())));
  auto reference = std::make_shared<LossRecorder>();
  alone.trainer.add_callback(reference);
  // 33 to validate on: the last batch of one leaves all ranks but one without a sample.
  const FitResult by_one = alone.trainer.fit(make_points(205), make_points(33, 2));
  alone.session.close();

  ToyTraining together(world(), root_ / "together", {"--sync-batch-norm"});
  auto losses = std::make_shared<LossRecorder>();
  together.trainer.add_callback(losses);
  const FitResult by_all = together.trainer.fit(make_points(205), make_points(33, 2));
  ASSERT_EQ(losses->losses.size(), reference->losses.size());
  for (std::size_t i = 0; i < losses->losses.size(); ++i)
    EXPECT_NEAR(losses->losses[i], reference->losses[i], 1e-9) << "step " << i + 1;
  ASSERT_TRUE(by_one.validation && by_all.validation);
  EXPECT_NEAR(*by_all.validation->loss, *by_one.validation->loss, 1e-9);
  EXPECT_EQ(by_all.validation->text.find("33 labelled samples"), 0U) << by_all.validation->text;
  together.session.close();
}

TEST_F(TrainerRanksTest, OwnMetricsAreThoseOfOneRankAndLoggedValuesMeans) {
  const SampleMetric score = [](const NamedTensors& outputs, const Batch&) {
    return outputs["logits"].select(1, 1);
  };
  ToyTraining alone(mpi::Comm::self(), root_ / ("alone" + std::to_string(world().rank())));
  alone.trainer.add_metric("score", score);
  const FitResult by_one = alone.trainer.fit(make_points(205), make_points(33, 2));
  alone.session.close();

  ToyTraining parts(world(), root_ / "together", {"--sync-batch-norm"});
  const int last = world().size() - 1;
  Trainer trainer(parts.session, parts.parallel, parts.optimizer,
                  [&](const NamedTensors& outputs, const Batch& batch) {
                    parts.session.log("rank", world().rank());
                    // Names that one rank alone has, of several at once.
                    if (world().rank() == last) parts.session.log("of_last", at::full({1}, 7.0, at::kDouble));
                    if (world().rank() == 0) parts.session.log("of_first", 3.0);
                    return classification()(outputs, batch);
                  },
                  {.epochs = 3, .batch = 32});
  trainer.add_metric("score", score);
  std::vector<StepEvent> events;
  struct Keep : Callback {
    explicit Keep(std::vector<StepEvent>& events) : events_(events) {}
    void on_step(const StepEvent& event) override { events_.push_back(event); }
    std::vector<StepEvent>& events_;
  };
  trainer.add_callback(std::make_shared<Keep>(events));
  const FitResult by_all = trainer.fit(make_points(205), make_points(33, 2));
  EXPECT_NEAR(by_all.validation->metrics.back().value, by_one.validation->metrics.back().value, 1e-9);
  EXPECT_EQ(by_all.validation->metrics.back().name, "valid_score");
  for (const StepEvent& event : events) {
    ASSERT_EQ(event.logged.size(), 3U);
    const auto value = [&](const std::string& name) {
      return std::ranges::find(event.logged, name, &report::NamedValue::name)->value;
    };
    EXPECT_EQ(value("rank"), last / 2.0);
    EXPECT_EQ(value("of_last"), 7);
    EXPECT_EQ(value("of_first"), 3);
  }
  parts.session.close();
}

TEST_F(TrainerRanksTest, AStopOnOneRankStopsAllAndResumeIsBitEqual) {
  ToyTraining undisturbed(world(), root_ / "undisturbed");
  undisturbed.trainer.fit(make_points(200), make_points(50, 2));

  ToyTraining first(world(), root_ / "stopped");
  const bool last = world().rank() == world().size() - 1;
  first.trainer.add_callback(std::make_shared<LossRecorder>(last ? &first.session : nullptr, 4));
  EXPECT_THROW(first.trainer.fit(make_points(200), make_points(50, 2)), Interrupted);

  first.session.close();
  ToyTraining second(world(), root_ / "stopped", {"--resume"});
  second.trainer.fit(make_points(200), make_points(50, 2));
  EXPECT_EQ(second.weights(), undisturbed.weights());
  for (auto* training : {&undisturbed, &second}) training->session.close();
}

TEST_F(TrainerRanksTest, AveragesAndValidationsWithinAnEpochResumeBitEqual) {
  const auto flags = [](std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--ema", "0.75", "--validate-every", "3"});
    return more;
  };
  ToyTraining undisturbed(world(), root_ / "undisturbed", flags());
  const FitResult expected = undisturbed.trainer.fit(make_points(200), make_points(50, 2));

  for (const std::int64_t stop_after : {2, 4}) {  // in the step of a validation, and behind it
    const auto run = root_ / ("stopped" + std::to_string(stop_after));
    ToyTraining first(world(), run, flags());
    const bool last = world().rank() == world().size() - 1;
    first.trainer.add_callback(std::make_shared<LossRecorder>(last ? &first.session : nullptr, stop_after));
    EXPECT_THROW(first.trainer.fit(make_points(200), make_points(50, 2)), Interrupted);
    first.session.close();
    ToyTraining second(world(), run, flags({"--resume"}));
    const FitResult found = second.trainer.fit(make_points(200), make_points(50, 2));
    EXPECT_EQ(second.weights(), undisturbed.weights()) << "stopped after step " << stop_after;
    EXPECT_EQ(found.validation->loss, expected.validation->loss);  // of the averages
    second.session.close();
  }
  undisturbed.session.close();
}

/// Points some of which cannot be read.
class DamagedPoints final : public data::Dataset {
 public:
  DamagedPoints(std::int64_t count, std::vector<std::size_t> damaged)
      : points_(make_points(count)), damaged_(std::move(damaged)) {}
  std::int64_t size() const noexcept override { return points_->size(); }
  std::span<const data::SampleRange> ranges() const noexcept override { return points_->ranges(); }
  const data::DatasetSummary& summary() const override { return points_->summary(); }
  data::SampleBlock read(std::size_t range) const override {
    if (std::ranges::find(damaged_, range) == damaged_.end()) return points_->read(range);
    throw DataError("points.h5, dataset 'x', rows " + std::to_string(16 * range) + " on: damaged");
  }

 private:
  data::DatasetPtr points_;
  std::vector<std::size_t> damaged_;
};

/// Points on a disk that fails here.
class FailingDisk final : public data::Dataset {
 public:
  explicit FailingDisk(bool fails) : points_(make_points(2000)), fails_(fails) {}
  std::int64_t size() const noexcept override { return points_->size(); }
  std::span<const data::SampleRange> ranges() const noexcept override { return points_->ranges(); }
  const data::DatasetSummary& summary() const override { return points_->summary(); }
  data::SampleBlock read(std::size_t range) const override {
    if (fails_ && reads_++ > 5)
      throw IoError("points.h5: cannot be read from 4096 on: Input/output error", EIO);
    return points_->read(range);
  }

 private:
  data::DatasetPtr points_;
  bool fails_;
  mutable std::atomic<int> reads_ = 0;
};

TEST_F(TrainerRanksTest, OneRanksDiskErrorStopsAllRanksAtOnce) {
  const bool is_here = world().rank() == world().size() - 1;
  ToyTraining training(world(), root_ / "disk", {"--timeout", "300"}, {.epochs = 3, .batch = 32});
  const auto begin = std::chrono::steady_clock::now();
  try {
    training.trainer.fit(std::make_shared<FailingDisk>(is_here), nullptr);
    ADD_FAILURE() << "no error on rank " << world().rank();
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("points.h5: cannot be read from 4096 on"), std::string::npos) << what;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30)) << "not by the timeout";
}

/// What an epoch counted, and a stop after a step of one rank.
class BadCounts : public Callback {
 public:
  explicit BadCounts(Session* stop = nullptr, std::int64_t stop_after = -1)
      : session_(stop), stop_after_(stop_after) {}
  void on_step(const StepEvent& event) override {
    losses.push_back(event.loss);
    if (session_ && event.step == stop_after_) session_->request_stop();
  }
  void on_epoch(const report::EpochRow& row) override { of_epochs.push_back(row.bad_samples); }
  std::vector<double> losses;
  std::vector<std::int64_t> of_epochs;

 private:
  Session* session_;
  std::int64_t stop_after_;
};

constexpr std::int64_t kPoints = 16016;  // 16 of which are 0.1 %
using Counts = std::vector<std::int64_t>;

TEST_F(TrainerRanksTest, DamagedSamplesAreCountedAlikeOnAnyNumberOfRanksAndAfterAResume) {
  const auto points = std::make_shared<DamagedPoints>(kPoints, std::vector<std::size_t>{500});
  const auto valid = std::make_shared<DamagedPoints>(64, std::vector<std::size_t>{1});
  const TrainerOptions options{.epochs = 2, .batch = 1024};
  const std::vector<std::string> flags{"--on-bad", "skip", "--sync-batch-norm"};
  ToyTraining alone(mpi::Comm::self(), root_ / ("alone" + std::to_string(world().rank())), flags, options);
  const auto reference = std::make_shared<BadCounts>();
  alone.trainer.add_callback(reference);
  const FitResult by_one = alone.trainer.fit(points, valid);
  EXPECT_EQ(reference->of_epochs, (Counts{16, 16}));
  EXPECT_EQ(by_one.validation->text.find("48 labelled samples"), 0U) << by_one.validation->text;
  alone.session.close();

  for (const std::int64_t stop_after : {4, 12}) {
    const auto run = root_ / ("stopped" + std::to_string(stop_after));
    ToyTraining first(world(), run, flags, options);
    const auto begun =
        std::make_shared<BadCounts>(world().rank() == 0 ? &first.session : nullptr, stop_after);
    first.trainer.add_callback(begun);
    EXPECT_THROW(first.trainer.fit(points, valid), Interrupted);
    first.session.close();
    ToyTraining second(world(), run, {"--on-bad", "skip", "--sync-batch-norm", "--resume"}, options);
    const auto rest = std::make_shared<BadCounts>();
    second.trainer.add_callback(rest);
    const FitResult by_all = second.trainer.fit(points, valid);
    EXPECT_EQ(rest->of_epochs, (Counts{16, 16})) << stop_after;
    EXPECT_NEAR(*by_all.validation->loss, *by_one.validation->loss, 1e-9);
    std::vector<double> losses = begun->losses;
    losses.insert(losses.end(), rest->losses.begin(), rest->losses.end());
    ASSERT_EQ(losses.size(), reference->losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], reference->losses[i], 1e-9) << i;
    second.session.close();
  }
}

TEST_F(TrainerRanksTest, TooManyDamagedSamplesEndTheRunOnAllRanks) {
  const auto points = std::make_shared<DamagedPoints>(kPoints, std::vector<std::size_t>{100, 200});
  ToyTraining training(world(), root_ / "damaged", {"--on-bad", "skip"}, {.epochs = 1, .batch = 1024});
  try {
    training.trainer.fit(points, nullptr);
    FAIL() << "no exception";
  } catch (const DataError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("of 16016 "), std::string::npos) << what;
    EXPECT_NE(what.find("more than 0.1 %"), std::string::npos) << what;
    EXPECT_NE(what.find("points.h5, dataset 'x', rows "), std::string::npos) << what;
  }
  training.session.close();
}

/// Wants to finish on one rank alone.
class FinishHere : public Callback {
 public:
  explicit FinishHere(bool here) : here_(here) {}
  void on_step(const StepEvent& event) override { step_ = event.step; }
  Verdict verdict() const override { return {.finish = here_ && step_ >= 3 ? "one rank has enough" : ""}; }

 private:
  bool here_;
  std::int64_t step_ = 0;
};

TEST_F(TrainerRanksTest, AWishToFinishOnOneRankFinishesAll) {
  ToyTraining training(world(), root_ / "finished");
  training.trainer.add_callback(std::make_shared<FinishHere>(world().rank() == world().size() - 1));
  const FitResult result = training.trainer.fit(make_points(200), make_points(50, 2));
  EXPECT_EQ(result.steps, 4);
  EXPECT_EQ(result.finished_early, "one rank has enough");
  ASSERT_TRUE(result.validation);
  EXPECT_EQ(result.validation->text.find("50 labelled samples"), 0U) << result.validation->text;
  training.session.close();
}

/// The toy training with something that happens in every validation batch of the last rank.
Trainer with_hook(ToyTraining& parts, std::function<void()> in_validation) {
  const bool here = world().rank() == world().size() - 1;
  const auto objective = [&parts, in_validation, here](const NamedTensors& outputs, const Batch& batch) {
    if (here && !parts.network->is_training()) in_validation();
    return classification()(outputs, batch);
  };
  return Trainer(parts.session, parts.parallel, parts.optimizer, objective, {.epochs = 3, .batch = 32});
}

TEST_F(TrainerRanksTest, AStopInAValidationStopsAllAndResumeIsBitEqual) {
  ToyTraining undisturbed(world(), root_ / "undisturbed");
  undisturbed.trainer.fit(make_points(200), make_points(320, 2));

  ToyTraining first(world(), root_ / "stopped");
  Trainer stopped = with_hook(first, [&] { first.session.request_stop(); });
  EXPECT_THROW(stopped.fit(make_points(200), make_points(320, 2)), Interrupted);

  first.session.close();
  ToyTraining second(world(), root_ / "stopped", {"--resume"});
  second.trainer.fit(make_points(200), make_points(320, 2));
  EXPECT_EQ(second.weights(), undisturbed.weights());
  for (auto* training : {&undisturbed, &second}) training->session.close();
}

TEST_F(TrainerRanksTest, AFaultOfOneRanksValidationIsThrownOnAllOfItsKind) {
  ToyTraining training(world(), root_ / "faulty");
  std::int64_t batches = 0;
  Trainer faulty = with_hook(training, [&] {
    if (++batches == 3) throw DataError("rows 3 to 7 of valid.h5 cannot be read");
  });
  try {
    faulty.fit(make_points(200), make_points(320, 2));
    ADD_FAILURE() << "no error on rank " << world().rank();
  } catch (const DataError& error) {
    EXPECT_NE(error.message().find("rows 3 to 7"), std::string::npos) << error.what();
  }
  training.session.close();
}

TEST_F(TrainerRanksTest, AnErrorInOneRanksStepReachesTheOthersWithoutATimeout) {
  ToyTraining training(world(), root_ / "broken", {"--timeout", "300"});
  class Fault : public Callback {
    void on_step(const StepEvent& event) override {
      if (event.step == 2 && world().rank() == world().size() - 1) throw DataError("the last rank's own");
    }
  };
  training.trainer.add_callback(std::make_shared<Fault>());
  try {
    training.trainer.fit(make_points(200), nullptr);
    ADD_FAILURE() << "no error on rank " << world().rank();
  } catch (const DataError&) {
    EXPECT_EQ(world().rank(), world().size() - 1);
  } catch (const CommError& error) {
    EXPECT_NE(std::string(error.what()).find("the last rank's own"), std::string::npos) << error.what();
  }
}

/// Dawdles after every step on one rank, and keeps where the time of the last epoch went.
class Dawdler : public Callback {
 public:
  explicit Dawdler(std::chrono::milliseconds pause) : pause_(pause) {}
  void on_step(const StepEvent&) override { std::this_thread::sleep_for(pause_); }
  void on_epoch(const report::EpochRow& row) override { split = row.split; }
  report::StepSplit split;

 private:
  std::chrono::milliseconds pause_;
};

TEST_F(TrainerRanksTest, WaitingForASlowRankIsIdleAndNotCommunication) {
  constexpr std::chrono::milliseconds kPause(20);
  const bool is_slow = world().rank() == world().size() - 1;
  ToyTraining training(world(), root_ / "dawdling");
  auto dawdler = std::make_shared<Dawdler>(is_slow ? kPause : std::chrono::milliseconds(0));
  training.trainer.add_callback(dawdler);
  training.trainer.fit(make_points(320), nullptr);
  training.session.close();

  // 10 steps an epoch, the first of which is not preceded by a pause; all ranks but one wait for it.
  const double waiting = world().size() - 1.0;
  const double expected = 0.9 * std::chrono::duration<double>(kPause).count() * waiting / world().size();
  EXPECT_GE(dawdler->split.idle, 0.8 * expected);
  if (world().size() > 1) {
    EXPECT_LT(dawdler->split.communication, dawdler->split.idle);
  }
  EXPECT_EQ(world().broadcast(std::to_string(dawdler->split.total())), std::to_string(dawdler->split.total()))
      << "the means are over all ranks";
}

}  // namespace
}  // namespace bunchtrain::train
