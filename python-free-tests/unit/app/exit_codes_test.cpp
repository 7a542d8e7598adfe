// SPDX-License-Identifier: Apache-2.0
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <new>
#include <stdexcept>
#include <system_error>

#include "bunchtrain/app/flag_wording.hpp"
#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/detail/memory_need.hpp"
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

TEST(OutOfMemoryTest, SaysWhatWasExpectedAndWhatIsFree) {
  const train::MemoryNeed need{.device = {c10::kCUDA, 0}, .predicted_bytes = 18'800'000'000};
  const device::DeviceMemory memory{.free_bytes = 1'250'000'000, .total_bytes = 16'000'000'000};
  EXPECT_EQ(
      train::out_of_memory_text(need, memory, "CUDA out of memory. Tried to allocate 2 GiB.\nframe #0"),
      "out of memory on the GPU: a pass was expected to need 18.80 GB; 1.25 GB of 16.00 GB are free; take a "
      "smaller batch, accumulate it in more passes, or recompute where the program has it. CUDA out of "
      "memory. Tried to allocate 2 GiB.");
  EXPECT_EQ(train::memory_warning(need, memory),
            "a pass is expected to need 18.80 GB, and 1.25 GB of the GPU's 16.00 GB are free: take a smaller "
            "batch, accumulate it in more passes, or recompute");
  EXPECT_EQ(train::memory_warning({.predicted_bytes = 1'000'000}, memory), "");
  EXPECT_EQ(train::memory_warning(need, std::nullopt), "") << "the CPU";
}

TEST(OutOfMemoryTest, IsDescribedFromLibTorchsError) {
  train::expect_memory({.device = c10::kCPU, .predicted_bytes = 2'000'000'000}, Logger());
  const c10::OutOfMemoryError error(c10::SourceLocation{}, "CUDA out of memory. Tried to allocate 2 GiB.");
  EXPECT_EQ(exit_code_of(error), 1);
  speak_of_flags();
  EXPECT_EQ(
      describe_error(error),
      "out of memory on the GPU: a pass was expected to need 2.00 GB; take a smaller --batch, --accumulate "
      "it in more passes, or --recompute where the program has it. CUDA out of memory. Tried to allocate 2 GiB.");
  use_wording(nullptr);
}

TEST(ExitCodesTest, SignalsAskToBeRunAgainButCtrlC) {
  for (const int signal : {0, SIGUSR1, SIGUSR2, SIGTERM, SIGHUP}) EXPECT_EQ(exit_code_after(signal), 85);
  EXPECT_EQ(exit_code_after(SIGINT), 130);
}

}  // namespace
}  // namespace bunchtrain::app
