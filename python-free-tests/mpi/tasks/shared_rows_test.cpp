// SPDX-License-Identifier: Apache-2.0
/// Ranks of a node open the same files; one of them looks through the rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/simulate/toy_jets.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "jet_tagging/shared_rows.hpp"
#include "mpi/comm/world.hpp"
#include "support/flags.hpp"

namespace bunchtrain::jet_tagging {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class SharedRowsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (test_world().rank() == 0) {
      std::filesystem::create_directories(root_);
      simulate::write_toy_jets(jets_, {.count = 300, .particles = 8});
      simulate::write_toy_jets(valid_, {.count = 100, .seed = 2, .particles = 8});
    }
    test_world().barrier();
  }
  void TearDown() override {
    session_.close();
    test_world().barrier();
    if (test_world().rank() == 0) std::filesystem::remove_all(root_);
    test_world().barrier();
  }

  const std::filesystem::path root_ = std::filesystem::path(testing::TempDir()) /
                                      ("shared_rows_" + test_world().broadcast(std::to_string(getpid())));
  const std::filesystem::path jets_ = root_ / "jets.h5", valid_ = root_ / "valid.h5";
  train::Session session_ =
      app::open_session(test::parse_flags({"--run", (root_ / "run").string()}), test_world(), {});
};

TEST_F(SharedRowsTest, OneRankOfANodeReadsLabels) {
  const auto datasets = open_once_per_node(session_, [&](SharedRows& rows) {
    return std::vector<data::JetDataset>{rows.open({.files = {jets_.string()}, .card = "toy_jets"}),
                                         rows.open({.files = {valid_.string()}, .card = "toy_jets"})};
  });
  ASSERT_EQ(datasets.size(), 2U);
  const std::int64_t reads = datasets[0].labels_read() + datasets[1].labels_read();
  EXPECT_EQ(test_world().all_sum(reads), 2 * test_world().num_nodes());
  EXPECT_EQ(reads, test_world().local_rank() == 0 ? 2 : 0);
  const data::JetDataset alone({.files = {jets_.string()}, .card = "toy_jets"});
  EXPECT_EQ(datasets[0].rows_as_bytes(), alone.rows_as_bytes());
  EXPECT_EQ(datasets[0].all()->summary().fingerprint, alone.all()->summary().fingerprint);
  EXPECT_EQ(datasets[1].size(), 100);
}

TEST_F(SharedRowsTest, TrainingPartsAreThoseOfOneRank) {
  const auto split = open_data(session_, {.files = {.data = {jets_.string()}, .valid_fraction = 0.25}});
  const auto alone =
      data::JetDataset({.files = {jets_.string()}}).split({.valid_fraction = 0.25, .seed = session_.seed()});
  EXPECT_EQ(split.train->summary().fingerprint, alone.train->summary().fingerprint);
  EXPECT_EQ(*split.train->card(), *alone.train->card()) << "what is fitted to the data";
  ASSERT_EQ(split.valid->size(), alone.valid->size());
  EXPECT_TRUE(split.valid->read(0).tensors["features"].equal(alone.valid->read(0).tensors["features"]));
}

/// The rank that reads, and one that would get its rows: nobody waits for a rank that is gone.
TEST_F(SharedRowsTest, ErrorsOfOneRankReachAll) {
  for (const int broken : {0, test_world().size() - 1}) {
    const auto open = [&](SharedRows& rows) {
      const bool absent = test_world().rank() == broken;
      return rows.open(
          {.files = {absent ? (root_ / "absent.h5").string() : jets_.string()}, .card = "toy_jets"});
    };
    EXPECT_THAT([&] { open_once_per_node(session_, open); },
                ThrowsMessage<DataError>(HasSubstr("absent.h5")));
  }
  test_world().barrier();
}

TEST_F(SharedRowsTest, RanksThatSeeOtherFilesAreAnErrorOnAll) {
  if (test_world().size() == 1) GTEST_SKIP() << "one rank sees one file";
  const auto open = [&](SharedRows& rows) {
    const auto& file = test_world().rank() == 0 ? jets_ : valid_;
    return rows.open({.files = {file.string()}, .card = "toy_jets"});
  };
  EXPECT_THAT([&] { open_once_per_node(session_, open); },
              ThrowsMessage<DataError>(HasSubstr("read other rows than are here")));
}

}  // namespace
}  // namespace bunchtrain::jet_tagging
