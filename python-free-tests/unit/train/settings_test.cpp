// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/standard_options.hpp"

namespace bunchtrain::train {
namespace {

config::Options parsed(std::vector<const char*> flags) {
  config::Options options("train", "Trains.");
  options.declare(standard_options());
  flags.insert(flags.begin(), "train");
  options.parse(static_cast<int>(flags.size()), flags.data());
  return options;
}

TEST(SettingsTest, TheUserWinsOverTheProgramAndThatOverDefaults) {
  const TrainerOptions program{.epochs = 20, .batch = 512};
  const Settings untouched = resolve_settings(program, parsed({}));
  EXPECT_EQ(untouched.epochs, 20);
  EXPECT_EQ(untouched.batch, 512);
  EXPECT_EQ(untouched.accumulate, 1);
  EXPECT_EQ(resolve_settings(program, parsed({"--epochs", "3"})).epochs, 3);
}

TEST(SettingsTest, LearningRateScalesWithBatchOverReference) {
  EXPECT_DOUBLE_EQ(resolve_settings({}, parsed({"--batch", "1024", "--reference-batch", "256"})).rate_scale(),
                   4.0);
  EXPECT_DOUBLE_EQ(resolve_settings({}, parsed({})).rate_scale(), 1.0);
}

TEST(SettingsTest, ReadsCheckpointIntervals) {
  EXPECT_EQ(parse_checkpoint_interval("500").steps, 500);
  EXPECT_EQ(parse_checkpoint_interval("20 steps").steps, 20);
  EXPECT_EQ(parse_checkpoint_interval("10min").time, std::chrono::minutes(10));
  EXPECT_EQ(parse_checkpoint_interval("").steps, 0);
  EXPECT_THROW(parse_checkpoint_interval("often"), ConfigError);
  EXPECT_THROW(parse_checkpoint_interval("-3"), ConfigError);
}

TEST(SettingsTest, RefusesWhatCannotTrain) {
  EXPECT_THROW(resolve_settings({}, parsed({"--epochs", "0"})), ConfigError);
  EXPECT_THROW(resolve_settings({}, parsed({"--batch", "0"})), ConfigError);
  EXPECT_THROW(resolve_settings({}, parsed({"--clip-norm=-1"})), ConfigError);
  EXPECT_THROW(resolve_settings({.accumulate = 0}, parsed({})), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
