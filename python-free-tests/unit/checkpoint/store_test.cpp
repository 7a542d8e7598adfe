// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/store.hpp"

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
  EXPECT_FALSE(store.load_best().has_value());
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
  EXPECT_EQ(store.load_best()->info.step, 20);
  EXPECT_EQ(store.load_latest()->info.step, 50);
}

TEST_F(StoreTest, SmallerMayBeBetter) {
  Store store = make_store({.keep_last = 1, .metric = "valid_loss", .higher_is_better = false});
  save(store, 1, 0.3);
  save(store, 2, 0.2);
  save(store, 3, 0.4);
  save(store, 4, std::nan(""));
  EXPECT_EQ(store.load_best()->info.step, 2);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step-000002", "step-000004"));
}

TEST_F(StoreTest, WithoutMetricsTheBestIsTheLatest) {
  Store store = make_store();
  save(store, 1);
  save(store, 2);
  EXPECT_EQ(store.load_best()->info.step, 2);
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
  EXPECT_THROW(store.save({.step = -1, .components = {}}), CheckpointError);
  EXPECT_THROW(store.save({.step = 1, .components = {{"../escape", StateDict()}}}), CheckpointError);
  EXPECT_FALSE(std::filesystem::exists(root_ / "escape.safetensors"));
  EXPECT_THROW(make_store({.keep_last = 0}), ConfigError);
  EXPECT_EQ(latest_step(), -1);
}

}  // namespace
}  // namespace bunchtrain::checkpoint
