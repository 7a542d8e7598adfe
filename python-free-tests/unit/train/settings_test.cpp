// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/session.hpp"
#include "support/flags.hpp"
#include "training_plan.hpp"

namespace bunchtrain::train {
namespace {

SessionOptions parsed(std::vector<std::string> flags) {
  return app::session_options(test::parse_flags(std::move(flags)));
}

Settings resolve(const TrainerOptions& options, const SessionOptions& asked) {
  return resolve_settings(options, asked.training, *asked.record);
}

TEST(SettingsTest, TheUserWinsOverTheProgramAndThatOverDefaults) {
  const TrainerOptions program{.epochs = 20, .batch = 512};
  const Settings untouched = resolve(program, parsed({}));
  EXPECT_EQ(untouched.epochs, 20);
  EXPECT_EQ(untouched.batch, 512);
  EXPECT_EQ(untouched.accumulate, 1);
  EXPECT_EQ(resolve(program, parsed({"--epochs", "3"})).epochs, 3);
}

TEST(SettingsTest, LearningRateScalesWithBatchOverReference) {
  EXPECT_DOUBLE_EQ(resolve({}, parsed({"--batch", "1024", "--reference-batch", "256"})).rate_scale(), 4.0);
  EXPECT_DOUBLE_EQ(resolve({}, parsed({})).rate_scale(), 1.0);
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
  EXPECT_THROW(resolve({}, parsed({"--epochs", "0"})), ConfigError);
  EXPECT_THROW(resolve({}, parsed({"--batch", "0"})), ConfigError);
  EXPECT_THROW(resolve({}, parsed({"--clip-norm=-1"})), ConfigError);
  EXPECT_THROW(resolve({.accumulate = 0}, parsed({})), ConfigError);
}

TEST(SettingsTest, AsksOnlyForWhatHasAnEffect) {
  const auto unused = [](std::vector<std::string> flags, Passes passes) {
    const SessionOptions asked = parsed(std::move(flags));
    resolve_settings({}, asked.training, *asked.record, passes);
    return asked.record->unused();
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(unused({"--warmup-steps", "5"}, Passes::of_trainer), Names{"warmup-steps"});
  EXPECT_EQ(unused({"--warmup-steps", "5", "--schedule", "cosine"}, Passes::of_trainer), Names{});
  EXPECT_EQ(unused({"--clip-norm", "1", "--accumulate", "2"}, Passes::of_trainer), Names{});
  EXPECT_EQ(unused({"--clip-norm", "1", "--accumulate", "2"}, Passes::of_step),
            (Names{"clip-norm", "accumulate"}));
  EXPECT_EQ(unused({"--check-finite", "skip"}, Passes::of_step), Names{"check-finite"});
  EXPECT_EQ(unused({"--on-bad", "skip"}, Passes::of_step), Names{"on-bad"});
  EXPECT_EQ(unused({"--on-bad", "skip"}, Passes::of_trainer), Names{});
  EXPECT_THROW(parse_on_bad("perhaps"), ConfigError);
}

TEST(SettingsTest, AutomaticPrecisionIsLeftInTheOptionsAsWhatItMeans) {
  Session session(parsed({"--device", "cpu"}), mpi::Comm::self(), Logger());
  EXPECT_EQ(session.precision(), device::Precision::float32);
  EXPECT_EQ(session.options().text("precision"), "\"float32\"");
  EXPECT_EQ(session.options().origin("precision"), "auto");
  session.close();
  EXPECT_THROW(Session(parsed({"--device", "cpu", "--precision", "tf32"}), mpi::Comm::self(), Logger()),
               DeviceError);
}

TEST(SettingsTest, ReadsWhatWatchesATraining) {
  const Settings none = resolve({}, parsed({}));
  EXPECT_EQ(none.ema, 0);
  EXPECT_EQ(none.validate_every, 0);
  EXPECT_FALSE(none.early_stop);
  EXPECT_EQ(none.check_finite, CheckFinite::stop);
  const Settings all = resolve({.validate_every = 7, .ema = 0.5},
                               parsed({"--ema", "0.9", "--early-stop", "loss:4", "--check-finite", "skip"}));
  EXPECT_EQ(all.ema, 0.9);
  EXPECT_EQ(all.validate_every, 7);
  EXPECT_EQ(all.early_stop->metric, "loss");
  EXPECT_EQ(all.early_stop->patience, 4);
  EXPECT_EQ(all.check_finite, CheckFinite::skip);
}

TEST(SettingsTest, RefusesBoundsBelowZero) {
  for (const char* flag : {"--max-steps=-1", "--max-samples=-1", "--steps-per-epoch=-1",
                           "--check-replicas=-2", "--validate-every=-1"})
    EXPECT_THROW(resolve({}, parsed({flag})), ConfigError) << flag;
}

RunLength length_of(std::vector<std::string> flags, std::int64_t samples) {
  return plan_length(resolve({}, parsed(std::move(flags))), samples);
}

TEST(RunLengthTest, CountsStepsOfAllBounds) {
  const RunLength plain = length_of({"--epochs", "3", "--batch", "32"}, 200);
  EXPECT_EQ(plain.steps_per_epoch, 7);
  EXPECT_EQ(plain.total_steps, 21);
  EXPECT_EQ(plain.schedule_steps, 21);
  EXPECT_EQ(plain.epochs(), 3);
  const RunLength short_epochs =
      length_of({"--epochs", "3", "--batch", "32", "--steps-per-epoch", "5", "--max-steps", "12"}, 200);
  EXPECT_EQ(short_epochs.steps_per_epoch, 5);
  EXPECT_EQ(short_epochs.total_steps, 12);
  EXPECT_EQ(short_epochs.epochs(), 3);
  EXPECT_EQ(length_of({"--epochs", "3", "--batch", "32", "--max-steps", "1000"}, 200).total_steps, 21);
}

TEST(RunLengthTest, SamplesAreCountedWithTheSmallerLastBatch) {
  // 200 samples: six batches of 32 and one of 8.
  const auto steps = [](const char* most) {
    return length_of({"--epochs", "9", "--batch", "32", "--max-samples", most}, 200).total_steps;
  };
  EXPECT_EQ(steps("32"), 1);
  EXPECT_EQ(steps("63"), 1);
  EXPECT_EQ(steps("192"), 6);
  EXPECT_EQ(steps("199"), 6);
  EXPECT_EQ(steps("200"), 7);
  EXPECT_EQ(steps("231"), 7);
  EXPECT_EQ(steps("232"), 8);
  EXPECT_EQ(steps("400"), 14);
  EXPECT_THROW(steps("31"), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
