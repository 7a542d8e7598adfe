// SPDX-License-Identifier: Apache-2.0
// What snapshots cost the steps, and that they cost no memory that grows.

#include "snapshot_pacer.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "../../support/peak_allocator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/run_page.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using namespace std::chrono_literals;
using test::make_points;
using testing::HasSubstr;

constexpr CheckpointInterval kAuto = {.automatic = true, .shortest = 1s, .longest = 1h};

/// Steps of 100 ms, the first of which is a slow one.
SnapshotPacer after_steps(std::int64_t count, const CheckpointInterval& interval = kAuto) {
  SnapshotPacer pacer(interval);
  for (std::int64_t step = 0; step < count; ++step) pacer.count_step(step == 0 ? 5.0 : 0.1, false);
  return pacer;
}

TEST(SnapshotPacerTest, AddsUpWhatASnapshotTakes) {
  SnapshotPacer pacer = after_steps(12);
  pacer.count_copy(0.3);
  for (int step = 0; step < 4; ++step) pacer.count_step(0.15, true);
  EXPECT_FALSE(pacer.pace());
  pacer.count_commit(0.1, /*waited=*/false);
  ASSERT_TRUE(pacer.pace());
  EXPECT_DOUBLE_EQ(pacer.pace()->step_seconds, 0.1) << "the first steps do not count";
  EXPECT_DOUBLE_EQ(pacer.pace()->copy_seconds, 0.3);
  EXPECT_DOUBLE_EQ(pacer.pace()->commit_seconds, 0.1);
  EXPECT_NEAR(pacer.pace()->slowdown_seconds, 4 * 0.05, 1e-12);
  EXPECT_NEAR(pacer.pace()->interval_seconds, 0.6 / 0.03, 1e-9);
  for (int step = 0; step < 4; ++step) pacer.count_step(0.08, false);
  pacer.count_copy(0.03);
  pacer.count_step(0.05, true);  // by chance
  pacer.count_commit(0.03, false);
  EXPECT_NEAR(pacer.pace()->interval_seconds, 0.06 / 0.03, 1e-9)
      << "the newest one, and nothing is won by it";
}

TEST(SnapshotPacerTest, TheBoundsHoldWhateverItCosts) {
  SnapshotPacer cheap = after_steps(12), dear = after_steps(12);
  cheap.count_copy(1e-6);
  cheap.count_commit(1e-6, false);
  EXPECT_EQ(cheap.pace()->interval_seconds, 1);
  dear.count_copy(1000);
  dear.count_commit(1, false);
  EXPECT_EQ(dear.pace()->interval_seconds, 3600);
}

TEST(SnapshotPacerTest, TheFirstIsMeasuredAfterAFewSteps) {
  EXPECT_FALSE(after_steps(9).probe_due());
  SnapshotPacer pacer = after_steps(10);
  EXPECT_TRUE(pacer.probe_due());
  pacer.count_copy(0.1);
  for (int step = 0; step < 20; ++step) pacer.count_step(0.1, true);
  EXPECT_FALSE(pacer.probe_due()) << "it is on its way";
  pacer.count_commit(0.1, false);
  EXPECT_FALSE(pacer.probe_due());
}

TEST(SnapshotPacerTest, OneThatTheStepsWaitedForCountsOnlyIfThereIsNoOther) {
  SnapshotPacer pacer = after_steps(12);
  pacer.count_copy(0.3);
  pacer.count_commit(3, /*waited=*/true);  // at the end of an epoch
  EXPECT_NEAR(pacer.pace()->interval_seconds, 3.3 / 0.03, 1e-9);
  pacer.count_copy(0.3);
  pacer.count_commit(0.3, false);
  EXPECT_NEAR(pacer.pace()->interval_seconds, 0.6 / 0.03, 1e-9);
  pacer.count_copy(0.3);
  pacer.count_commit(3, true);
  EXPECT_NEAR(pacer.pace()->interval_seconds, 0.6 / 0.03, 1e-9);
}

TEST(SnapshotPacerTest, TheIntervalIsReadAndChecked) {
  EXPECT_TRUE(parse_checkpoint_interval("auto").automatic);
  EXPECT_EQ(to_string(parse_checkpoint_interval("auto")), "auto");
  for (CheckpointInterval bad : {CheckpointInterval{.steps = -1}, CheckpointInterval{.time = -1s},
                                 CheckpointInterval{.automatic = true, .most_stolen = 0},
                                 CheckpointInterval{.automatic = true, .shortest = 1h, .longest = 1min}})
    EXPECT_THROW(bad.validate(), ConfigError);
  EXPECT_NO_THROW(CheckpointInterval().validate());
}

class SnapshotRunTest : public test::TrainerFixture {};

/// What a run says of its snapshots.
class PaceObserver final : public Observer {
 public:
  std::string name() const override { return "pace"; }
  void on_snapshot_pace(const SnapshotPace& pace) override { paces.push_back(pace); }
  void on_note(const std::string& line) override { notes += line + '\n'; }
  std::vector<SnapshotPace> paces;
  std::string notes;
};

TEST_F(SnapshotRunTest, ARunMeasuresASnapshotAndSaysHowOftenOneFollows) {
  auto training = make("run", {"--checkpoint-every", "auto", "--keep-last", "9"}, {.epochs = 2, .batch = 16});
  const auto observer = std::make_shared<PaceObserver>();
  training.session.add_observer(observer);
  training.trainer.fit(make_points(500), nullptr);  // 32 steps an epoch
  ASSERT_EQ(observer->paces.size(), 1U);
  const SnapshotPace& pace = observer->paces.front();
  EXPECT_GT(pace.copy_seconds, 0);
  EXPECT_GT(pace.step_seconds, 0);
  EXPECT_EQ(pace.interval_seconds, 60) << "toys cost nothing";
  EXPECT_THAT(observer->notes, HasSubstr("snapshots every "));
  int within = 0;
  for (std::int64_t step = 1; step < 32; ++step) within += std::filesystem::exists(snapshot("run", step));
  EXPECT_EQ(within, 1) << "the one that was measured";
  const auto json = nlohmann::json::parse(read("run/run.json"));
  EXPECT_EQ(json.at("snapshots").at("interval"), 60);
  EXPECT_TRUE(json.contains("finished"));
  EXPECT_THAT(read("run/report.html"), HasSubstr("what one takes from the steps"));
  std::filesystem::remove(root_ / "run" / "report.html");
  render_run(root_ / "run");
  EXPECT_THAT(read("run/report.html"), HasSubstr("slower steps while it is written"));
}

TEST_F(SnapshotRunTest, MemoryIsFlatOverFiftyEpochs) {
  const auto peak_of = [&](const std::string& run, std::int64_t epochs) {
    auto training = make(run, {"--checkpoint-every", "3", "--ema", "0.9"}, {.epochs = epochs, .batch = 32});
    const auto points = make_points(200);
    return test::peak_bytes([&] { training.trainer.fit(points, nullptr); });
  };
  const double few = peak_of("few", 4), many = peak_of("many", 50);
  EXPECT_LE(many, few + 4096) << "bytes of tensors at the worst moment";
}

}  // namespace
}  // namespace bunchtrain::train
