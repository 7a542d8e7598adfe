// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/allclose.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
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

/// Ends the process with 1 and the message if 100 showers do not fit below a limit, with 2 if a file is left.
[[noreturn]] void write_to_a_full_disk(const std::filesystem::path& path) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
  setrlimit(RLIMIT_FSIZE, &limit);
  try {
    write_gflash_showers(path, {.count = 100});
  } catch (const DataError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::exit(std::filesystem::is_empty(path.parent_path()) ? 1 : 2);
  }
  std::exit(0);
}

// A limit on the file size stands for a full disk.
TEST_F(GflashFileTest, FullDiskIsReportedAndLeavesNothing) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // LibTorch's threads do not live through a fork
  EXPECT_EXIT(write_to_a_full_disk(path_), testing::ExitedWithCode(1), "showers.h5.*File too large");
}

/// What a loader reads of a file, against what went into it.
void expect_read_back(const std::filesystem::path& path, const GflashOptions& options,
                      const std::string& card) {
  write_gflash_showers(path, options);
  const data::ShowerDataset dataset({.files = {path.string()}, .physical = true});
  EXPECT_EQ(dataset.card().name, card);
  EXPECT_EQ(dataset.size(), options.count);
  const data::DatasetPtr all = dataset.all();
  for (std::size_t range = 0; range < all->ranges().size(); ++range) {
    const data::SampleBlock block = all->read(range);
    NamedTensors made = make_gflash_showers(options, block.range.first, block.range.count);
    at::Tensor image = made["image"];  // the card drops what lies below its threshold
    image.masked_fill_(image.lt(dataset.card().threshold), 0);
    for (const auto& [name, tensor] : made)
      EXPECT_TRUE(at::allclose(block.tensors[name], tensor, 1e-6, 0)) << name;
  }
}

TEST_F(GflashFileTest, UprightShowersAreReadAsLcdFixed) {
  expect_read_back(path_, {.particle = ShowerParticle::photon, .count = 40}, "lcd_fixed");
}

TEST_F(GflashFileTest, InclinedShowersAreReadAsLcdAngle) {
  expect_read_back(path_, {.cells = {51, 51, 25}, .inclined = true, .count = 20}, "lcd_angle");
}

}  // namespace
}  // namespace bunchtrain::simulate
