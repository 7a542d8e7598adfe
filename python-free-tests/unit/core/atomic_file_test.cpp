// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/atomic_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "atomic_file_test";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(AtomicFileTest, AppearsOnlyWithTheCommit) {
  const fs::path path = folder_ / "manifest.json";
  {
    AtomicFile file(path);
    file.write("one ");
    file.write("two");
    EXPECT_FALSE(fs::exists(path));
    EXPECT_TRUE(fs::exists(file.temporary_path()));
    file.commit();
    EXPECT_FALSE(fs::exists(file.temporary_path()));
  }
  EXPECT_EQ(read_text_file(path), "one two");
}

TEST_F(AtomicFileTest, WithoutACommitTheOldFileStays) {
  const fs::path path = folder_ / "run.json";
  write_file_atomically(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
  }
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(AtomicFileTest, MissingFolderIsNamed) {
  try {
    AtomicFile file(folder_ / "absent" / "x.json");
    FAIL() << "no error";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr((folder_ / "absent").string()));
  }
}

TEST_F(AtomicFileTest, FullDiskThrowsAtOnce) {
  // /dev/full reports ENOSPC for every write: the temporary is a link to it.
  const fs::path path = folder_ / "x.json";
  const fs::path temporary = AtomicFile(path).temporary_path();
  fs::create_symlink("/dev/full", temporary);
  AtomicFile file(path);
  try {
    file.write("bytes");
    FAIL() << "written to a full disk";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), ENOSPC);
    EXPECT_THAT(error.what(), testing::HasSubstr(path.string()));
  }
}

TEST_F(AtomicFileTest, KnowsTheHashOfWhatItWrote) {
  AtomicFile file(folder_ / "x");
  file.write("one ");
  file.write("two");
  file.commit();
  EXPECT_EQ(file.bytes(), 7U);
  EXPECT_EQ(file.hash(), hash_file(folder_ / "x"));
}

TEST_F(AtomicFileTest, AFaultOfTheSystemThatMayPassIsAnIoError) {
  for (const int code : {ENOSPC, EDQUOT, EIO, ESTALE, EROFS, EMFILE})
    EXPECT_THROW(throw_system_fault<CheckpointError>("x", code), IoError) << code;
  for (const int code : {ENOENT, EACCES, EPERM, ENOTDIR, EISDIR, EFBIG})
    EXPECT_THROW(throw_system_fault<CheckpointError>("x", code), CheckpointError) << code;
}

TEST_F(AtomicFileTest, NothingIsWrittenAfterTheCommit) {
  AtomicFile file(folder_ / "x");
  file.commit();
  EXPECT_THROW(file.write("late"), ConfigError);
  EXPECT_THROW(file.commit(), ConfigError);
}

TEST_F(AtomicFileTest, ReadingReportsMissingFilesAndFolders) {
  EXPECT_THROW(read_text_file(folder_ / "absent"), DataError);
  EXPECT_THROW(read_text_file(folder_), DataError);
  write_file_atomically(folder_ / "empty", "");
  EXPECT_EQ(read_text_file(folder_ / "empty"), "");
}

TEST_F(AtomicFileTest, AFolderThatCannotBeSynchronisedIsNamed) {
  AtomicFile file(folder_ / "x.json");
  file.write("bytes");
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  std::string message;
  try {
    file.commit();
  } catch (const IoError& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(message, testing::AllOf(testing::HasSubstr("cannot synchronise folder " + folder_.string()),
                                      testing::HasSubstr("Too many open files")));
}

TEST_F(AtomicFileTest, WhatCannotBeReadIsNeverTakenForAnEmptyText) {
  write_file_atomically(folder_ / "empty", "");
  EXPECT_EQ(read_text_file(folder_ / "empty"), "");
  EXPECT_THROW(read_text_file(folder_), DataError);
  try {
    read_text_file("/proc/self/mem");  // opens, and gives EIO, as a bad sector does
    FAIL() << "read";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_THAT(error.what(), testing::HasSubstr("cannot read /proc/self/mem"));
  }
}

}  // namespace
}  // namespace bunchtrain
