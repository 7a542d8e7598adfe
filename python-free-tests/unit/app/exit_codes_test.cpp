// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <new>
#include <stdexcept>
#include <system_error>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::app {
namespace {

std::filesystem::filesystem_error of_file(int code) {
  return {"cannot open", "file.h5", std::error_code(code, std::system_category())};
}

TEST(ExitCodesTest, WhatTheUserHasToMendIsNotTriedAgain) {
  EXPECT_EQ(exit_code_of(ConfigError("option")), 78);
  EXPECT_EQ(exit_code_of(DataError("file")), 78);
  EXPECT_EQ(exit_code_of(CheckpointError("snapshot")), 78);
  EXPECT_EQ(exit_code_of(NotBuiltError("nccl", "BUNCHTRAIN_CUDA")), 78);
  for (const int code : {ENOENT, EACCES, ENOTDIR, ENAMETOOLONG})
    EXPECT_EQ(exit_code_of(of_file(code)), 78) << code;
}

TEST(ExitCodesTest, WhatMayPassIsTriedAgain) {
  EXPECT_EQ(exit_code_of(CommError("rank 1")), 75);
  EXPECT_EQ(exit_code_of(IoError("disk", ENOSPC)), 75);
  for (const int code : {ENOSPC, EDQUOT, EIO, ESTALE, EROFS}) {
    EXPECT_EQ(exit_code_of(of_file(code)), 75) << code;
    EXPECT_EQ(exit_code_of(std::system_error(code, std::generic_category())), 75) << code;
  }
}

TEST(ExitCodesTest, TheRestIsAnError) {
  EXPECT_EQ(exit_code_of(train::TrainingHalted("NaN")), 1);
  EXPECT_EQ(exit_code_of(DeviceError("GPU")), 1);
  EXPECT_EQ(exit_code_of(std::runtime_error("bug")), 1);
  EXPECT_EQ(exit_code_of(std::bad_alloc()), 1);
  EXPECT_NE(describe_error(std::bad_alloc()).find("out of memory"), std::string::npos);
}

TEST(ExitCodesTest, SignalsAskToBeRunAgainButCtrlC) {
  for (const int signal : {0, SIGUSR1, SIGUSR2, SIGTERM, SIGHUP}) EXPECT_EQ(exit_code_after(signal), 85);
  EXPECT_EQ(exit_code_after(SIGINT), 130);
}

}  // namespace
}  // namespace bunchtrain::app
