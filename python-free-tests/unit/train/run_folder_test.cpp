// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/run_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

class RunFolderTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }
  RunFolder open(const std::string& name, bool resume = false) {
    return RunFolder::open(mpi::Comm::self(), {.path = (root_ / name).string(),
                                               .program = "test",
                                               .resume = resume,
                                               .heartbeat = std::chrono::milliseconds(100)});
  }
  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) / "run_folder_test";
};

TEST_F(RunFolderTest, MakesANewFolder) {
  const RunFolder folder = open("a/b");
  EXPECT_TRUE(std::filesystem::is_directory(folder.path()));
  EXPECT_FALSE(folder.holds_run());
}

TEST_F(RunFolderTest, RefusesAFolderThatHoldsARunAndNamesTheWaysOut) {
  std::ofstream(open("run").description()) << "{}";
  try {
    open("run");
    FAIL() << "a run was overwritten";
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    for (const char* way : {"by resume", "by run", "remove"})
      EXPECT_NE(text.find(way), std::string::npos) << text;
  }
  EXPECT_TRUE(open("run", true).holds_run());
  EXPECT_TRUE(RunFolder::existing(root_ / "run").holds_run());
}

TEST_F(RunFolderTest, FilesOfOthersAreNotReplaced) {
  for (const char* name : {"card.toml", "report.html", "curves.json", "sections.json"}) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "mine");
    std::ofstream(root_ / "mine" / name) << "mine";
    try {
      open("mine");
      ADD_FAILURE() << name << " would be replaced";
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
    EXPECT_THROW(open("mine", true), ConfigError);
    std::ofstream(root_ / "mine" / "run.json") << "{}";
    EXPECT_TRUE(open("mine", true).holds_run());
  }
}

TEST_F(RunFolderTest, SaysWhyItCannotBeMade) {
  std::filesystem::create_directories(root_);
  std::ofstream(root_ / "file") << "x";
  try {
    open("file/run");
    FAIL() << "a folder was made below a file";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("Not a directory"), std::string::npos) << error.what();
  }
}

TEST_F(RunFolderTest, ResumingANewFolderStartsAfresh) { EXPECT_FALSE(open("fresh", true).holds_run()); }

TEST_F(RunFolderTest, IsAbsoluteWhateverTheProgramDoesLater) {
  const auto before = std::filesystem::current_path();
  std::filesystem::create_directories(root_);
  std::filesystem::current_path(root_);
  const RunFolder folder = RunFolder::open(mpi::Comm::self(), {.path = "./here/../run", .program = "test"});
  std::filesystem::current_path(before);
  EXPECT_EQ(folder.path(), std::filesystem::weakly_canonical(root_ / "run"));
}

TEST_F(RunFolderTest, DefaultNamesOfOneSecondDiffer) {
  const auto before = std::filesystem::current_path();
  std::filesystem::create_directories(root_);
  std::filesystem::current_path(root_);
  std::set<std::filesystem::path> paths;
  for (int task = 0; task < 20; ++task)
    paths.insert(RunFolder::open(mpi::Comm::self(), {.path = "", .program = "test"}).path());
  std::filesystem::current_path(before);
  EXPECT_EQ(paths.size(), 20U);
}

TEST_F(RunFolderTest, HasOneWriterAndAnyNumberOfReaders) {
  std::optional<RunFolder> writer = open("run", true);
  std::ofstream(writer->description()) << "{}";
  EXPECT_THROW(open("run", true), ConfigError);
  EXPECT_THROW(open("run"), ConfigError);
  EXPECT_TRUE(RunFolder::existing(root_ / "run").holds_run());
  EXPECT_NO_THROW(writer->require_owned(mpi::Comm::self()));
  writer.reset();
  EXPECT_NO_THROW(open("run", true));
}

TEST_F(RunFolderTest, ALostLockStopsTheWriting) {
  const RunFolder writer = open("run");
  std::filesystem::remove(root_ / "run" / "run.lock");
  while (!writer.is_lost()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_THROW(writer.require_owned(mpi::Comm::self()), ConfigError);
}

TEST_F(RunFolderTest, AnEmptyFolderIsNoRun) {
  open("empty");
  EXPECT_THROW(RunFolder::existing(root_ / "empty"), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
