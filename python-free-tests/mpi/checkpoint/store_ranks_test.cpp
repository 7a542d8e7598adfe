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

TEST_F(StoreRanksTest, AnotherWorldReadsTheReplicatedState) {
  Store store = make_store();
  const SnapshotInfo saved = store.save(request(3));
  const Snapshot elsewhere = read_snapshot(saved.folder, 0, communicator_.size() + 1);
  EXPECT_EQ(elsewhere.components.size(), 1u);
  EXPECT_TRUE(elsewhere.rank_components.empty());
}

}  // namespace
}  // namespace bunchtrain::checkpoint
