// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/simulate/gflash.hpp"

namespace bunchtrain::simulate {
namespace {

class GflashFileTest : public testing::Test {
 protected:
  GflashFileTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~GflashFileTest() override { std::filesystem::remove_all(folder_); }

  std::size_t files() const {
    const std::filesystem::directory_iterator entries(folder_);
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
  }

  const std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / "bunchtrain_gflash_file";
  const std::filesystem::path path_ = folder_ / "showers.h5";
};

TEST_F(GflashFileTest, ReportsProgressAndCompresses) {
  std::vector<std::int64_t> progress;
  write_gflash_showers(path_, {.count = 150}, [&](std::int64_t showers) { progress.push_back(showers); });
  EXPECT_THAT(progress, testing::ElementsAre(128, 150));
  EXPECT_EQ(files(), 1u);
  EXPECT_LT(std::filesystem::file_size(path_), 150u * 25 * 25 * 25 * 4 / 4);  // most cells are empty
}

TEST_F(GflashFileTest, LeavesNothingBehindWhenStopped) {
  EXPECT_THROW(write_gflash_showers(path_, {.count = 300},
                                    [](std::int64_t) { throw Error("stopped after the first block"); }),
               Error);
  EXPECT_EQ(files(), 0u);
}

TEST_F(GflashFileTest, FailsBeforeWorkWhereItCannotWrite) {
  EXPECT_THROW(write_gflash_showers(folder_ / "missing" / "showers.h5", {.count = 10}), Error);
  EXPECT_THROW(write_gflash_showers(path_, {.count = 0}), ConfigError);
  EXPECT_THROW(write_gflash_showers(path_, {.count = -3}), ConfigError);
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace bunchtrain::simulate
