// SPDX-License-Identifier: Apache-2.0
/// The Trainer at the uneven end of an epoch: fewer samples than ranks, in training and validation.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "shares.hpp"
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

}  // namespace
}  // namespace bunchtrain::train
