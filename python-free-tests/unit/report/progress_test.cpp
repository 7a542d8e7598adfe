// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/progress.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <vector>

#include "bunchtrain/report/table.hpp"

namespace bunchtrain::report {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

class ProgressTest : public testing::Test {
 protected:
  ProgressOptions options() {
    return {.total_steps = 100,
            .steps_per_epoch = 50,
            .epochs = 2,
            .redraw_interval = milliseconds(100),
            .log_interval = milliseconds(10'000),
            .now = [this] { return now_; }};
  }
  ProgressOutput output(bool terminal, int width = 80) {
    return {.write = [this](std::string_view text) { written_.emplace_back(text); },
            .is_terminal = terminal,
            .width = width};
  }
  std::string all() const {
    std::string text;
    for (const std::string& piece : written_) text += piece;
    return text;
  }
  void run_steps(Progress& progress, int steps, milliseconds each) {
    for (int i = 1; i <= steps; ++i) {
      now_ += each;
      progress.update({.step = i, .loss = 0.5, .samples_per_second = 12'400});
    }
  }

  std::chrono::steady_clock::time_point now_{};
  std::vector<std::string> written_;
};

TEST_F(ProgressTest, ALogGetsALineNowAndThenAndNoControlCharacters) {
  Progress progress(options(), output(false));
  run_steps(progress, 50, milliseconds(1000));
  progress.close();
  ASSERT_EQ(written_.size(), 5u);
  EXPECT_EQ(written_[1], "step 20/100 (20 %)  epoch 1/2  loss 0.5000  12.4k jets/s  ETA 1:20\n");
  EXPECT_THAT(all(), Not(HasSubstr("\r")));
  EXPECT_THAT(all(), Not(HasSubstr("\x1b")));
}

TEST_F(ProgressTest, ATerminalGetsOneLineThatIsDrawnAgain) {
  Progress progress(options(), output(true));
  run_steps(progress, 10, milliseconds(60));
  EXPECT_EQ(written_.size(), 5u);
  for (const std::string& piece : written_) {
    EXPECT_THAT(piece, testing::StartsWith("\r"));
    EXPECT_THAT(piece, Not(HasSubstr("\n")));
  }
  EXPECT_THAT(written_.back(), HasSubstr("10 %"));
  progress.close();
  EXPECT_EQ(written_.back(), "\r\x1b[K");
}

TEST_F(ProgressTest, NeverWiderThanTheTerminal) {
  for (int width : {20, 40, 60, 80, 200}) {
    for (bool unicode : {false, true}) {
      written_.clear();
      ProgressOutput out = output(true, width);
      out.unicode = unicode;
      Progress progress(options(), out);
      run_steps(progress, 10, milliseconds(1000));
      for (const std::string& piece : written_) {
        const std::string shown = piece.substr(1, piece.find("\x1b") - 1);
        EXPECT_LT(display_width(shown), static_cast<std::size_t>(width)) << shown;
        if (!unicode) {
          EXPECT_EQ(display_width(shown), shown.size()) << "not ASCII: " << shown;
        }
      }
    }
  }
}

TEST_F(ProgressTest, OtherRanksAreSilent) {
  ProgressOptions quiet = options();
  quiet.enabled = false;
  Progress progress(quiet, output(true));
  run_steps(progress, 50, milliseconds(1000));
  progress.note("hello");
  progress.finish_epoch({.epoch = 1, .epochs = 2});
  progress.close();
  EXPECT_TRUE(written_.empty());
}

TEST_F(ProgressTest, TheEpochLineStaysAndTheBarReturnsBelow) {
  Progress progress(options(), output(true, 100));
  run_steps(progress, 3, milliseconds(200));
  written_.clear();
  progress.finish_epoch({.epoch = 1,
                         .epochs = 2,
                         .seconds = 41,
                         .train_loss = 0.2134,
                         .valid_loss = 0.2011,
                         .learning_rate = 3.2e-3,
                         .samples_per_second = 12'400,
                         .metrics = {{"valid_auc", 0.9823}}});
  ASSERT_EQ(written_.size(), 2u);
  EXPECT_EQ(written_[0],
            "\r\x1b[Kepoch 1/2  loss 0.2134  valid 0.2011  auc 0.9823  lr 3.20e-03  12.4k jets/s  0:41\n");
  EXPECT_THAT(written_[1], testing::StartsWith("\r"));
}

TEST_F(ProgressTest, TheEpochLineFitsTheTerminal) {
  const EpochRow row{
      .epoch = 3,
      .epochs = 12,
      .seconds = 70,
      .train_loss = 0.3,
      .valid_loss = 0.31,
      .learning_rate = 1e-3,
      .samples_per_second = 1e4,
      .metrics = {{"valid_accuracy", 0.91}, {"valid_auc", 0.97}, {"valid_rejection_50", 77.3}}};
  const std::string whole = format_epoch_line(row, "jets");
  for (const int width : {40, 60, 100}) {
    written_.clear();
    Progress progress(options(), output(true, width));
    progress.finish_epoch(row);
    std::string text = all(), joined;
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = text.substr(begin, end - begin);
      EXPECT_LE(display_width(line), static_cast<std::size_t>(width)) << text;
      joined += begin == 0 ? line : line.substr(line.find_first_not_of(' ') - 2);
    }
    EXPECT_EQ(joined, whole) << width;
  }
}

TEST_F(ProgressTest, AResumedRunEstimatesFromItsOwnSteps) {
  ProgressOptions resumed = options();
  resumed.first_step = 50;
  Progress progress(resumed, output(false));
  now_ += milliseconds(20'000);
  progress.update({.step = 60, .loss = 1, .samples_per_second = 1});
  EXPECT_THAT(all(), HasSubstr("step 60/100"));
  EXPECT_THAT(all(), HasSubstr("epoch 2/2"));
  EXPECT_THAT(all(), HasSubstr("ETA 1:20"));
}

TEST_F(ProgressTest, PhasesAreShown) {
  Progress progress(options(), output(false));
  now_ += milliseconds(11'000);
  progress.update_phase("validating", 12, 40);
  EXPECT_THAT(all(), HasSubstr("validating 12/40"));
}

TEST(EpochLineTest, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(format_epoch_line({.epoch = 3, .epochs = 20, .seconds = 5, .train_loss = 1}, "showers"),
            "epoch  3/20  loss 1.0000  0:05");
}

TEST(EpochLineTest, ShowsLossesOfNetworksButNotTheirParts) {
  EpochRow row{.epoch = 1, .epochs = 2, .seconds = 5, .train_loss = 0.7};
  row.losses = {{"discriminator_real", 0.7},
                {"discriminator_fake", 0.69},
                {"generator", 12.34},
                {"generator_energy", 9.5},
                {"generator_bins", 1}};
  row.metrics = {{"valid_score", 0.5}};
  EXPECT_EQ(format_epoch_line(row, "showers"),
            "epoch 1/2  discriminator_real 0.7000  discriminator_fake 0.6900  generator 12.3  score 0.5000"
            "  0:05");
}

TEST(EpochLineTest, ATotalStandsForItsTerms) {
  EpochRow row{.epoch = 1, .epochs = 2, .seconds = 5, .train_loss = 12};
  row.losses = {{"generator_total", 12.5},
                {"generator_energy", 9.5},
                {"discriminator_real_total", 3},
                {"discriminator_real_energy", 2},
                {"discriminator_fake_total", 4}};
  EXPECT_EQ(format_epoch_line(row, "showers"),
            "epoch 1/2  generator 12.5  discriminator_real 3.0000  discriminator_fake 4.0000  0:05");
}

}  // namespace
}  // namespace bunchtrain::report
