// SPDX-License-Identifier: Apache-2.0
// All ranks save, load and fail together.

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;

class StoreRanksTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = "bunchtrain-ranks-" + std::to_string(::getpid());
    folder_ = fs::temp_directory_path() / environment_.world().broadcast(name) / "checkpoints";
  }
  void TearDown() override {
    environment_.world().barrier();
    if (rank() == 0) fs::remove_all(folder_.parent_path());
    communicator_.close();
  }

  int rank() const { return communicator_.rank(); }
  Store make_store() { return Store(folder_, communicator_); }
  SaveRequest request(std::int64_t step) const {
    SaveRequest request{.step = step, .components = {}};
    request.components["model"].tensors.set("weight", at::full({5}, static_cast<double>(step)));
    request.rank_components["random"].set("rank", rank());
    return request;
  }

  mpi::Environment environment_;
  comm::Communicator communicator_ = comm::Communicator::create(environment_.world(), at::kCPU);
  fs::path folder_;
};

TEST_F(StoreRanksTest, EachRankGetsItsOwnPartBack) {
  Store store = make_store();
  EXPECT_FALSE(store.load_latest().has_value());
  const SnapshotInfo saved = store.save(request(7));
  EXPECT_EQ(saved.world, communicator_.size());
  EXPECT_EQ(environment_.world().broadcast(saved.hash), saved.hash) << "ranks disagree about the hash";
  const auto loaded = store.load_latest();
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->info.hash, saved.hash);
  EXPECT_TRUE(loaded->components.at("model").tensors["weight"].equal(at::full({5}, 7.0)));
  EXPECT_EQ(loaded->rank_components.at("random").integer("rank"), rank());
}

TEST_F(StoreRanksTest, ADamagedPartOfTheLastRankIsFoundByAll) {
  Store store = make_store();
  store.save(request(1));
  const SnapshotInfo newest = store.save(request(2));
  if (rank() == communicator_.size() - 1) {
    std::ofstream(newest.folder / ("random.rank-0000" + std::to_string(rank()) + ".safetensors")) << "x";
  }
  environment_.world().barrier();
  EXPECT_EQ(store.load_latest()->info.step, 1);
}

TEST_F(StoreRanksTest, OneRankThatCannotSaveStopsAll) {
  Store store = make_store();
  store.save(request(1));
  SaveRequest bad = request(2);
  if (rank() == communicator_.size() - 1) bad.rank_components["Not A Name"] = StateDict();
  try {
    store.save(bad);
    FAIL() << "the failure of one rank was not seen";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("Not A Name"));
  }
  environment_.world().barrier();
  EXPECT_FALSE(fs::exists(folder_ / "step-000002.partial"));
  EXPECT_EQ(store.load_latest()->info.step, 1);
}

TEST_F(StoreRanksTest, ASaveBesideTheTrainingIsOfAllRanks) {
  Store store = make_store();
  store.begin(request(1));
  while (!store.written()) ::usleep(1000);
  EXPECT_EQ(store.commit().step, 1);
  SaveRequest bad = request(2);
  if (rank() == communicator_.size() - 1) bad.rank_components["Not A Name"] = StateDict();
  store.begin(std::move(bad));
  try {
    store.commit();
    FAIL() << "the failure of one rank's thread was not seen";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("Not A Name"));
  }
  store.begin(request(3));
  store.abandon();
  environment_.world().barrier();
  EXPECT_FALSE(fs::exists(folder_ / "step-000002.partial"));
  EXPECT_FALSE(fs::exists(folder_ / "step-000003.partial"));
  const auto loaded = store.load_latest();
  EXPECT_EQ(loaded->info.step, 1);
  EXPECT_EQ(loaded->rank_components.at("random").integer("rank"), rank());
}

/// Each rank is a node of its own, with a folder that the others do not see.
class NodesTest : public StoreRanksTest {
 protected:
  void SetUp() override {
    StoreRanksTest::SetUp();
    node_ = folder_.parent_path() / ("node-" + std::to_string(rank()));
    folder_ = folder_.parent_path() / "run" / "checkpoints";
  }
  void TearDown() override {
    folder_ = folder_.parent_path();
    StoreRanksTest::TearDown();
  }
  Store make_local() { return Store(folder_, communicator_, {.local = node_}); }
  /// A large tensor that all have is dealt out: every node has files that no other has.
  SaveRequest spread_request(std::int64_t step) const {
    SaveRequest spread = request(step);
    for (const char* name : {"a", "b", "c"})
      spread.components["model"].tensors.set(name,
                                             at::full({200'000}, static_cast<double>(step), at::kFloat));
    return spread;
  }
  void expect_loaded(std::int64_t step) {
    const auto loaded = make_local().load_latest();
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->info.step, step);
    EXPECT_TRUE(
        loaded->components.at("model").tensors["weight"].equal(at::full({5}, static_cast<double>(step))));
    EXPECT_EQ(loaded->rank_components.at("random").integer("rank"), rank());
  }
  fs::path node_;
};

TEST_F(NodesTest, WhatTheNodesHaveTogetherIsGoneOnFrom) {
  {
    Store store = make_local();
    store.save(spread_request(1));
    store.upload_all();
    store.save(spread_request(2));
    while (!store.uploaded()) ::usleep(1000);
    environment_.world().barrier();
  }  // killed before it was published in the run folder
  EXPECT_EQ(Store(folder_, communicator_).load_latest()->info.step, 1);
  environment_.world().barrier();
  expect_loaded(2);
  EXPECT_EQ(Store(folder_, communicator_).load_latest()->info.step, 2);
}

TEST_F(NodesTest, WithoutOneOfThemTheRunFolderCounts) {
  {
    Store store = make_local();
    store.save(spread_request(1));
    store.upload_all();
    store.save(spread_request(2));
  }
  environment_.world().barrier();
  if (rank() == communicator_.size() - 1) fs::remove_all(node_);
  environment_.world().barrier();
  expect_loaded(1);
  Store store = make_local();
  store.save(spread_request(3));
  store.judge(3, {.metric = 0.5});
  store.upload_all();
  store.tidy_up();
  environment_.world().barrier();
  EXPECT_TRUE(fs::is_empty(node_));
  EXPECT_EQ(Store(folder_, communicator_).load("best")->info.step, 3);
}

TEST_F(NodesTest, AFolderThatOneOfThemCannotWriteIsToldByAll) {
  if (rank() == communicator_.size() - 1) {
    fs::create_directories(node_.parent_path());
    std::ofstream(node_) << "in the way";
  }
  EXPECT_THROW(make_local().require_local(), ConfigError);
}

TEST_F(StoreRanksTest, AnotherWorldReadsTheReplicatedState) {
  Store store = make_store();
  const SnapshotInfo saved = store.save(request(3));
  const Snapshot elsewhere = read_snapshot(saved.folder, 0, communicator_.size() + 1);
  EXPECT_EQ(elsewhere.components.size(), 1u);
  EXPECT_TRUE(elsewhere.rank_components.empty());
}

}  // namespace
}  // namespace bunchtrain::checkpoint
