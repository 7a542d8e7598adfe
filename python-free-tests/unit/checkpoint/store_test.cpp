// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/store.hpp"
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <gmock/gmock.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "store_fixture.hpp"

namespace bunchtrain::checkpoint {
namespace {

using testing::ElementsAre;

using StoreTest = StoreFixture;

TEST_F(StoreTest, NothingThereMeansAFreshStart) {
  const Store store = make_store();
  EXPECT_FALSE(store.load_latest().has_value());
  EXPECT_FALSE(store.load("best").has_value());
  EXPECT_FALSE(std::filesystem::exists(folder_)) << "looking must not create the folder";
}

TEST_F(StoreTest, ReturnsWhatWasSaved) {
  Store store = make_store();
  const SnapshotInfo saved = save(store, 12, 0.98);
  const auto loaded = store.load_latest();
  ASSERT_TRUE(loaded.has_value());
  expect_intact(*loaded);
  EXPECT_EQ(loaded->info.step, 12);
  EXPECT_EQ(loaded->info.world, 1);
  EXPECT_EQ(loaded->info.metric, 0.98);
  EXPECT_EQ(loaded->info.metadata.at("card"), "toy");
  EXPECT_EQ(loaded->info.hash, saved.hash);
  EXPECT_EQ(saved.hash.size(), 32u);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000012"));
  EXPECT_EQ(read(folder_ / "latest"), "step-000012\n");
}

TEST_F(StoreTest, KeepsTheLastOnesAndTheBest) {
  Store store = make_store({.keep_last = 2});
  save(store, 10, 0.7);
  save(store, 20, 0.9);
  for (std::int64_t step : {30, 40, 50}) save(store, step, 0.8);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000020", "step-000040", "step-000050"));
  EXPECT_EQ(read(folder_ / "best"), "step-000020\n");
  EXPECT_EQ(store.load("best")->info.step, 20);
  EXPECT_EQ(store.load_latest()->info.step, 50);
}

TEST_F(StoreTest, SmallerMayBeBetter) {
  Store store = make_store({.keep_last = 1, .metric = "valid_loss", .higher_is_better = false});
  save(store, 1, 0.3);
  save(store, 2, 0.2);
  save(store, 3, 0.4);
  save(store, 4, std::nan(""));
  EXPECT_EQ(store.load("best")->info.step, 2);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000002", "step-000004"));
}

TEST_F(StoreTest, TheBestByTwoMetricsAreKeptAndTheNewestJudgementsCounts) {
  Store before = make_store({.keep_last = 1, .metric = "mean_auc"});
  save(before, 1, 0.9);
  save(before, 2, 0.8);
  Store store = make_store({.keep_last = 1, .metric = "auc"});
  save(store, 3, 0.3);
  save(store, 4, 0.2);
  EXPECT_EQ(store.load("best")->info.step, 3);
  EXPECT_EQ(read(folder_ / "best"), "step-000003\n");
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000001", "step-000003", "step-000004"));
}

TEST_F(StoreTest, WithoutMetricsTheBestIsTheLatest) {
  Store store = make_store();
  save(store, 1);
  save(store, 2);
  EXPECT_EQ(store.load("best")->info.step, 2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "best"));
}

TEST_F(StoreTest, TheSameStepIsReplaced) {
  Store store = make_store();
  const SnapshotInfo first = save(store, 5), second = save(store, 5, 0.9);
  EXPECT_NE(first.hash, second.hash);
  EXPECT_EQ(store.load_latest()->info.hash, second.hash);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000005"));
}

TEST_F(StoreTest, TheLatestSaveCountsEvenAtASmallerStep) {
  Store store = make_store();
  save(store, 100);
  save(store, 200);
  save(store, 150);  // a run that went back to step 100
  EXPECT_EQ(latest_step(), 150);
}

TEST_F(StoreTest, KeepsRankComponentsOnlyForTheSameWorld) {
  Store store = make_store();
  Components own;
  own["random"].set("position", 77);
  const SnapshotInfo saved =
      store.save({.step = 1, .components = make_components(1), .rank_components = own});
  EXPECT_EQ(store.load_latest()->rank_components.at("random").integer("position"), 77);
  EXPECT_EQ(read_snapshot(saved.folder, 0, 1).rank_components.size(), 1u);
  EXPECT_TRUE(read_snapshot(saved.folder, 0, 2).rank_components.empty());
  EXPECT_EQ(read_snapshot(saved.folder, 1, 2).components.size(), 2u);
}

TEST_F(StoreTest, EmptyStatesAreFine) {
  Store store = make_store();
  store.save({.step = 0, .components = {{"model", StateDict()}}});
  EXPECT_EQ(store.load_latest()->components.at("model").tensors.size(), 0u);
}

TEST_F(StoreTest, RefusesBadRequestsAndOptions) {
  Store store = make_store();
  EXPECT_THROW(store.save({.step = -1, .components = {}}), ConfigError);
  EXPECT_THROW(store.save({.step = 1, .components = {{"../escape", StateDict()}}}), CheckpointError);
  EXPECT_FALSE(std::filesystem::exists(root_ / "escape.safetensors"));
  EXPECT_THROW(make_store({.keep_last = 0}), ConfigError);
  EXPECT_EQ(latest_step(), -1);
}

TEST_F(StoreTest, AJudgementIsAddedToASnapshotThatIsThere) {
  Store store = make_store();
  save_unjudged(store, 10);
  EXPECT_FALSE(read_info(folder_ / "step-000010").judged);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "best"));
  store.judge(
      10, {.metric = 0.9, .metric_name = "valid_purity", .metadata = {{"more", "text"}, {"card", "own"}}});
  const SnapshotInfo info = read_info(folder_ / "step-000010");
  EXPECT_TRUE(info.judged);
  EXPECT_EQ(info.metric, 0.9);
  EXPECT_EQ(info.metadata.at("more"), "text");
  EXPECT_EQ(info.metadata.at("card"), "own");
  EXPECT_THAT(read(folder_ / "step-000010" / "manifest.json"), testing::HasSubstr("valid_purity"));
  EXPECT_EQ(read(folder_ / "best"), "step-000010\n");
  EXPECT_EQ(latest_step(), 10);
}

TEST_F(StoreTest, AnUnjudgedOneDoesNotPushOutTheLastThatIsKnownToBeGood) {
  Store store = make_store({.keep_last = 1});
  save_unjudged(store, 10);
  save_unjudged(store, 20);
  EXPECT_THAT(names(), ElementsAre("latest", "step-000010", "step-000020"));
  save_unjudged(store, 30);
  EXPECT_THAT(names(), ElementsAre("latest", "step-000020", "step-000030"));
  store.judge(30, {});
  EXPECT_THAT(names(), ElementsAre("latest", "step-000030"));
}

TEST_F(StoreTest, LostWeightsAreNeverGoneOnFromNorTheBest) {
  Store store = make_store();
  save(store, 10, 0.7);
  save(store, 20, 0.9);
  store.judge(20, {.lost = "the loss of step 21 is not finite"});
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{10});
  EXPECT_EQ(latest_step(), 10);
  EXPECT_THAT(sink_->warnings,
              testing::HasSubstr("step-000020 is left out: the loss of step 21 is not finite"));
  EXPECT_EQ(store.load("best")->info.step, 10);
  EXPECT_EQ(store.load("step-000020")->info.step, 20) << "whoever names it gets it";
  EXPECT_EQ(read(folder_ / "latest"), "step-000010\n");
  save(store, 15);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000010", "step-000015"));
}

TEST_F(StoreTest, OnlyLostWeightsMeanAFreshStart) {
  Store store = make_store();
  save_unjudged(store, 1);
  store.judge(1, {.lost = "the loss of step 2 is not finite"});
  EXPECT_EQ(latest_step(), -1);
  EXPECT_TRUE(store.steps().empty());
}

TEST_F(StoreTest, TheOneAskedForIsLoaded) {
  Store store = make_store();
  for (std::int64_t step : {10, 20, 30}) save(store, step, step == 20 ? 0.9 : 0.5);
  EXPECT_EQ(store.load("best")->info.step, 20);
  EXPECT_EQ(store.load("latest")->info.step, 30);
  EXPECT_EQ(store.load("step-000010")->info.step, 10);
  EXPECT_EQ(store.load("best", {"model"})->components.size(), 1U);
  try {
    store.load("step-000015");
    FAIL() << "a snapshot that is not there was loaded";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("latest, best, step-000030, step-000020, step-000010"));
  }
}

TEST_F(StoreTest, AComponentThatIsMissingIsNamed) {
  Store store = make_store();
  save(store, 10);
  try {
    store.load("latest", {"generator-model"});
    FAIL() << "a component that is not there was loaded";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("has no 'generator-model'"));
  }
}

TEST_F(StoreTest, WhatCannotBeTidiedUpCostsAWarning) {
  Store store = make_store({.keep_last = 1});
  save(store, 10);
  save_unjudged(store, 20);
  std::filesystem::create_directories(folder_ / "step-000010.partial" / "in the way");
  store.judge(20, {.metric = 0.5});
  EXPECT_THAT(sink_->warnings, testing::HasSubstr("cannot remove an old checkpoint"));
  EXPECT_EQ(latest_step(), 20);
}

TEST_F(StoreTest, TheBestNeedsAMetric) {
  try {
    make_store({.keep_best = true, .metric = ""});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("metric"), testing::HasSubstr("keep_best is on")));
  }
}

/// A save that goes on beside its caller.
class BackgroundSaveTest : public StoreFixture {
 protected:
  static SaveRequest request(std::int64_t step) {
    return {.step = step, .components = make_components(step), .metadata = {{"card", "toy"}}};
  }
  static void wait_for(const Store& store) {
    while (!store.written()) ::usleep(1000);
  }
  std::string partial(std::int64_t step) const {
    return (folder_ / ("step-0000" + std::to_string(step) + ".partial")).string();
  }
};

TEST_F(BackgroundSaveTest, IsThereOnceItIsCommittedAndNotBefore) {
  Store store = make_store();
  save(store, 10);
  store.begin(request(20));
  EXPECT_TRUE(store.saving());
  wait_for(store);
  EXPECT_EQ(latest_step(), 10);
  const SnapshotInfo info = store.commit();
  EXPECT_EQ(info.step, 20);
  EXPECT_FALSE(store.saving());
  EXPECT_EQ(latest_step(), 20);
  EXPECT_EQ(info.sequence, 2);
}

TEST_F(BackgroundSaveTest, OneAtATime) {
  Store store = make_store();
  store.begin(request(10));
  EXPECT_THROW(store.begin(request(20)), ConfigError);
  EXPECT_THROW(save(store, 20), ConfigError);
  store.commit();
  EXPECT_THROW(store.commit(), ConfigError);
  EXPECT_THROW(store.abandon(), ConfigError);
  EXPECT_EQ(latest_step(), 10);
}

TEST_F(BackgroundSaveTest, WhatIsAbandonedLeavesNothing) {
  Store store = make_store();
  save(store, 10);
  store.begin(request(20));
  store.abandon();
  EXPECT_FALSE(std::filesystem::exists(partial(20)));
  EXPECT_EQ(latest_step(), 10);
  save(store, 30);
  EXPECT_EQ(latest_step(), 30);
}

TEST_F(BackgroundSaveTest, WhatBefellItIsToldByCommit) {
  Store store = make_store();
  save(store, 10);
  SaveRequest bad = request(20);
  bad.components["Not A Name"] = {};
  store.begin(std::move(bad));
  wait_for(store);
  try {
    store.commit();
    FAIL() << "a failed save was committed";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("cannot save a checkpoint of step 20"),
                                             testing::HasSubstr("'Not A Name' cannot name a component")));
  }
  EXPECT_FALSE(std::filesystem::exists(partial(20)));
  EXPECT_EQ(latest_step(), 10);
  save(store, 30);
  EXPECT_EQ(latest_step(), 30);
}

TEST_F(BackgroundSaveTest, AStoreThatGoesAwayWaitsForItsThread) {
  {
    Store store = make_store();
    save(store, 10);
    store.begin(request(20));
  }
  EXPECT_EQ(latest_step(), 10);
  make_store().tidy_up();
  EXPECT_FALSE(std::filesystem::exists(partial(20)));
}

TEST_F(BackgroundSaveTest, AKillWhileItIsWrittenLeavesTheOneBefore) {
  {
    Store store = make_store();
    save(store, 10);
  }
  for (int trial = 0; trial < 20; ++trial) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Store store = make_store();
      for (std::int64_t step = 11;; step = 11 + (step + 1) % 50) {
        store.begin(request(step));
        if (step % 3 == 0) wait_for(store);
        if (step % 7 == 0)
          store.abandon();
        else
          store.commit();
      }
    }
    ::usleep(static_cast<useconds_t>(3000 + 1900 * trial));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_GE(latest_step(), 10) << "trial " << trial << ": " << sink_->warnings;
  }
}

}  // namespace
}  // namespace bunchtrain::checkpoint
