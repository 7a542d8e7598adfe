// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/logger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bunchtrain {
namespace {

struct RecordingSink : LogSink {
  void write(LogLevel level, std::string_view text) override {
    lines.push_back(std::string(to_string(level)) + "|" + std::string(text));
  }
  std::vector<std::string> lines;
};

TEST(LoggerTest, DefaultIsSilent) {
  const Logger logger;
  EXPECT_FALSE(logger.enabled(LogLevel::error));
  testing::internal::CaptureStderr();
  logger.error("nobody hears this");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(LoggerTest, LevelFilters) {
  auto sink = std::make_shared<RecordingSink>();
  const Logger logger(sink, LogLevel::warning);
  logger.debug("a");
  logger.info("b");
  logger.warning("c");
  logger.error("d");
  EXPECT_THAT(sink->lines, testing::ElementsAre("warning|c", "error|d"));
}

TEST(LoggerTest, StderrSinkMarksOnlyWhatIsAboveInfo) {
  testing::internal::CaptureStderr();
  const Logger logger(make_stderr_sink());
  logger.info("two ranks");
  logger.warning("one core");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "bunchtrain: two ranks\nbunchtrain: warning: one core\n");
}

}  // namespace
}  // namespace bunchtrain
