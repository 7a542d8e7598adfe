// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <string>
#include <thread>

#include "../../support/toy_training.hpp"
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
  alone.trainer.fit(make_points(205), nullptr);
  alone.session.close();

  ToyTraining together(world(), root_ / "together", {"--sync-batch-norm"});
  auto losses = std::make_shared<LossRecorder>();
  together.trainer.add_callback(losses);
  together.trainer.fit(make_points(205), nullptr);
  ASSERT_EQ(losses->losses.size(), reference->losses.size());
  for (std::size_t i = 0; i < losses->losses.size(); ++i)
    EXPECT_NEAR(losses->losses[i], reference->losses[i], 1e-9) << "step " << i + 1;
  together.session.close();
}

TEST_F(TrainerRanksTest, AStopOnOneRankStopsAllAndResumeIsBitEqual) {
  ToyTraining undisturbed(world(), root_ / "undisturbed");
  undisturbed.trainer.fit(make_points(200), make_points(50, 2));

  ToyTraining first(world(), root_ / "stopped");
  const bool last = world().rank() == world().size() - 1;
  first.trainer.add_callback(std::make_shared<LossRecorder>(last ? &first.session : nullptr, 4));
  EXPECT_THROW(first.trainer.fit(make_points(200), make_points(50, 2)), Interrupted);

  ToyTraining second(world(), root_ / "stopped", {"--resume"});
  second.trainer.fit(make_points(200), make_points(50, 2));
  EXPECT_EQ(second.weights(), undisturbed.weights());
  for (auto* training : {&undisturbed, &first, &second}) training->session.close();
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
