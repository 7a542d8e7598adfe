// SPDX-License-Identifier: Apache-2.0
/// The Trainer at the uneven end of an epoch: fewer samples than ranks, in training and validation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <optional>
#include <vector>

#include "shares.hpp"
#include "support/host_reads.hpp"
#include "support/toy_training.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::make_points;
using test::ToyTraining;

class TrainerSharesTest : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  void clear() {
    test_world().barrier();
    if (test_world().rank() == 0) std::filesystem::remove_all(root_);
    test_world().barrier();
  }
  std::filesystem::path folder_of_rank() const {
    return root_ / ("alone" + std::to_string(test_world().rank()));
  }

  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) /
                                      ("trainer_shares_" + test_world().broadcast(std::to_string(getpid())));
};

TEST_F(TrainerSharesTest, ALastBatchOfOneSampleEqualsOneRank) {
  // 65 samples in batches of 32, 33 validated in batches of 32: the last batch is one sample, on one rank.
  ToyTraining alone(mpi::Comm::self(), folder_of_rank());
  auto expected = std::make_shared<LossRecorder>();
  alone.trainer.add_callback(expected);
  const FitResult reference = alone.trainer.fit(make_points(65), make_points(33, 2));
  alone.session.close();

  ToyTraining together(test_world(), root_ / "together", {"--sync-batch-norm"});
  auto found = std::make_shared<LossRecorder>();
  together.trainer.add_callback(found);
  const FitResult result = together.trainer.fit(make_points(65), make_points(33, 2));
  ASSERT_EQ(found->losses.size(), expected->losses.size());
  for (std::size_t i = 0; i < found->losses.size(); ++i)
    EXPECT_NEAR(found->losses[i], expected->losses[i], 1e-10) << "step " << i + 1;
  ASSERT_TRUE(result.validation && reference.validation);
  EXPECT_NEAR(*result.validation->loss, *reference.validation->loss, 1e-10);
  const auto ours = together.weights(), theirs = alone.weights();
  // Not closer: a bias in front of batch norm has no gradient but rounding, and AdamW makes steps of that.
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 1e-8);
  together.session.close();
}

TEST_F(TrainerSharesTest, MorePassesThanSamplesPerRankTrain) {
  const std::int64_t world = test_world().size();
  for (const bool synchronised : {false, true}) {
    std::vector<std::string> flags = {"--accumulate", "4"};
    if (synchronised) flags.push_back("--sync-batch-norm");
    ToyTraining training(test_world(), root_ / (synchronised ? "synchronised" : "local"), flags,
                         {.epochs = 2, .batch = world});
    auto recorder = std::make_shared<LossRecorder>();
    training.trainer.add_callback(recorder);
    training.trainer.fit(make_points(4 * world + 1), make_points(world + 1, 2));
    EXPECT_EQ(recorder->losses.size(), 10u);
    for (const double loss : recorder->losses) EXPECT_TRUE(std::isfinite(loss));
    for (const double weight : training.weights()) EXPECT_TRUE(std::isfinite(weight));
    training.session.close();
  }
}

/// Counts from the end of one step to the end of a later one.
class ReadsBetween : public Callback {
 public:
  ReadsBetween(std::int64_t first, std::int64_t last) : first_(first), last_(last) {}
  void on_step(const StepEvent& event) override {
    if (event.step == last_) names = reads_->names();
    if (event.step == last_) reads_.reset();
    if (event.step == first_) reads_.emplace();
  }
  std::vector<std::string> names = {"not looked"};

 private:
  std::int64_t first_, last_;
  std::optional<test::HostReads> reads_;
};

TEST_F(TrainerSharesTest, StepsTakeNoNumberOffATensorAndMayRunAhead) {
  std::vector<double> weights;
  for (const std::int64_t run_ahead : {0, 1}) {
    ToyTraining training(test_world(), root_ / ("reads" + std::to_string(run_ahead)),
                         {"--accumulate", "2", "--clip-norm", "0.5", "--sync-batch-norm"},
                         {.epochs = 1, .batch = 32, .run_ahead = run_ahead});
    const auto reads = std::make_shared<ReadsBetween>(1, 5);
    training.trainer.add_callback(reads);
    training.trainer.fit(make_points(6 * 32), nullptr);
    EXPECT_THAT(reads->names, testing::IsEmpty());
    if (run_ahead == 0) weights = training.weights();
    EXPECT_EQ(training.weights(), weights);
    training.session.close();
  }
}

}  // namespace
}  // namespace bunchtrain::train
