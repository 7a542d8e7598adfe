// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::optim {
namespace {

TEST(ScheduleTest, NamesReadBack) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine,
                          ScheduleKind::one_cycle, ScheduleKind::flat_then_decay}) {
    EXPECT_EQ(parse_schedule(to_string(kind)), kind);
  }
  EXPECT_THROW(parse_schedule("linear"), ConfigError);
}

TEST(ScheduleTest, ConstantWithWarmUpRisesLinearly) {
  const ScheduleOptions options{.learning_rate = 1, .total_steps = 100, .warmup_steps = 4};
  EXPECT_NEAR(learning_rate_at(options, 0), 0.2, 1e-15);
  EXPECT_NEAR(learning_rate_at(options, 3), 0.8, 1e-15);
  EXPECT_EQ(learning_rate_at(options, 4), 1);
  EXPECT_EQ(learning_rate_at(options, 99), 1);
}

TEST(ScheduleTest, StepDropsBetweenEpochs) {
  const ScheduleOptions options{.kind = ScheduleKind::step,
                                .learning_rate = 1,
                                .total_steps = 100,
                                .steps_per_epoch = 5,
                                .step_factor = 0.5,
                                .step_epochs = 2};
  EXPECT_EQ(learning_rate_at(options, 9), 1);
  EXPECT_EQ(learning_rate_at(options, 10), 0.5);
  EXPECT_EQ(learning_rate_at(options, 20), 0.25);
}

TEST(ScheduleTest, CosineEndsAtTheFinalRate) {
  const ScheduleOptions options{.kind = ScheduleKind::cosine,
                                .learning_rate = 2,
                                .total_steps = 110,
                                .warmup_steps = 10,
                                .final_divisor = 100};
  EXPECT_NEAR(learning_rate_at(options, 10), 2, 1e-15);
  EXPECT_NEAR(learning_rate_at(options, 60), (2 + 0.02) / 2, 1e-12);
  EXPECT_NEAR(learning_rate_at(options, 110), 0.02, 1e-15);
}

// torch.optim.lr_scheduler.OneCycleLR(max_lr=5e-3, total_steps=10), its formula evaluated by hand. each step.
TEST(ScheduleTest, OneCycleEqualsPyTorch) {
  const ScheduleOptions options{.kind = ScheduleKind::one_cycle, .learning_rate = 5e-3, .total_steps = 10};
  // Phase 1 from max/25 over 0.3 * 10 - 1 = 2 steps, phase 2 over the 7 that are left, to max/25/1e4.
  const double start = 5e-3 / 25;
  EXPECT_NEAR(learning_rate_at(options, 0), start, 1e-18);
  EXPECT_NEAR(learning_rate_at(options, 1), (start + 5e-3) / 2, 1e-17);
  EXPECT_NEAR(learning_rate_at(options, 2), 5e-3, 1e-17);
  EXPECT_NEAR(learning_rate_at(options, 5), 0.0030563101096814462, 1e-15);
  EXPECT_NEAR(learning_rate_at(options, 9), start / 1e4, 1e-17);
  EXPECT_NEAR(learning_rate_at(options, 50), start / 1e4, 1e-17);
}

TEST(ScheduleTest, FlatThenDecayReachesItsFactorInTheLastEpoch) {
  const ScheduleOptions options{
      .kind = ScheduleKind::flat_then_decay, .learning_rate = 1, .total_steps = 200, .steps_per_epoch = 10};
  EXPECT_EQ(learning_rate_at(options, 0), 1);
  EXPECT_EQ(learning_rate_at(options, 139), 1);  // 14 of 20 epochs are flat
  EXPECT_NEAR(learning_rate_at(options, 140), std::pow(0.01, 1.0 / 6), 1e-15);
  EXPECT_NEAR(learning_rate_at(options, 199), 0.01, 1e-15);
}

TEST(ScheduleTest, BadOptionsAreNamed) {
  EXPECT_THROW(ScheduleOptions({.total_steps = 0}).validate(), ConfigError);
  EXPECT_THROW(
      ScheduleOptions({.kind = ScheduleKind::one_cycle, .total_steps = 10, .warmup_steps = 2}).validate(),
      ConfigError);
  EXPECT_THROW(ScheduleOptions({.total_steps = 10, .warmup_steps = 10}).validate(), ConfigError);
  EXPECT_THROW(ScheduleOptions({.learning_rate = -1}).validate(), ConfigError);
  EXPECT_THROW(ScheduleOptions({.flat_fraction = 1.5}).validate(), ConfigError);
  EXPECT_NO_THROW(ScheduleOptions{}.validate());
}

}  // namespace
}  // namespace bunchtrain::optim
