// SPDX-License-Identifier: Apache-2.0
/// Runs that are resumed otherwise than they began, and runs that are bounded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "../../support/toy_training.hpp"
#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "recorded_precision.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::make_points;
using test::ToyTraining;
using ::testing::HasSubstr;
using ::testing::Not;
using Flags = std::vector<std::string>;

/// 200 points: 7 steps an epoch of batch 32.
constexpr std::int64_t kPoints = 200;

/// Keeps what is logged.
class Recording final : public LogSink {
 public:
  explicit Recording(std::string& text) : text_(text) {}
  void write(LogLevel, std::string_view line) override { text_ += std::string(line) + "\n"; }

 private:
  std::string& text_;
};
Logger recording(std::string& text) { return Logger(std::make_shared<Recording>(text)); }

class ChangedResumeTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }

  ToyTraining make(const std::string& run, Flags flags = {}, TrainerOptions options = {}) {
    flags.insert(flags.begin(), {"--batch", "32"});
    return ToyTraining(mpi::Comm::self(), root_ / run, std::move(flags), std::move(options), recording(log_));
  }
  /// Trains `steps` steps; returns their losses. (What is asked for after a step holds from the next one on.)
  std::vector<double> start(const std::string& run, std::int64_t steps, const Flags& flags = {}) {
    ToyTraining training = make(run, flags);
    auto recorder = std::make_shared<LossRecorder>(&training.session, steps - 1);
    if (steps == 1) training.session.request_stop();
    training.trainer.add_callback(recorder);
    EXPECT_THROW(training.trainer.fit(make_points(kPoints), make_points(50, 2)), Interrupted);
    return recorder->losses;
  }
  std::shared_ptr<LossRecorder> resume(const std::string& run, Flags flags) {
    flags.push_back("--resume");
    ToyTraining training = make(run, flags);
    auto recorder = std::make_shared<LossRecorder>();
    training.trainer.add_callback(recorder);
    result_ = training.trainer.fit(make_points(kPoints), make_points(50, 2));
    return recorder;
  }
  std::string refusal(const std::string& run, const Flags& flags) {
    try {
      resume(run, flags);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
  nlohmann::json description(const std::string& run) const {
    return nlohmann::json::parse(read_text_file(root_ / run / "run.json"));
  }

  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) / "changed_resume_test";
  std::string log_;
  FitResult result_;
};

TEST_F(ChangedResumeTest, EverySettingThatChangesTheResultIsNamed) {
  start("run", 3, {"--epochs", "3"});
  const std::vector<std::pair<Flags, std::string>> changes = {
      {{"--seed", "5"}, "seed was 1 (default), is 5 (--seed)"},
      {{"--batch", "64"}, "batch was 32 (--batch), is 64 (--batch)"},
      {{"--learning-rate", "0.01"}, "learning-rate was 0.05 (set by the program), is 0.01 (--learning-rate)"},
      {{"--schedule", "cosine"}, "schedule was \"one-cycle\" (default), is \"cosine\" (--schedule)"},
      {{"--clip-norm", "1"}, "clip-norm was 0.0 (default), is 1.0 (--clip-norm)"},
      {{"--accumulate", "2"}, "accumulate was 1 (default), is 2 (--accumulate)"},
      {{"--reference-batch", "64"}, "reference-batch was 256 (default), is 64 (--reference-batch)"},
      {{"--sync-batch-norm"}, "sync-batch-norm was false (default), is true (--sync-batch-norm)"},
      {{"--steps-per-epoch", "4"}, "steps-per-epoch was 0 (default), is 4 (--steps-per-epoch)"},
      {{"--precision", "float32"}, "precision was \"float64\" (--precision), is \"float32\" (--precision)"}};
  for (const auto& [flags, expected] : changes) {
    Flags all = {"--epochs", "3"};
    all.insert(all.end(), flags.begin(), flags.end());
    EXPECT_THAT(refusal("run", all), HasSubstr(expected));
  }
  // What does not change the result is free.
  resume("run", {"--epochs", "3", "--checkpoint-every", "4", "--keep-last", "1", "--timeout", "50"});
  EXPECT_EQ(result_.steps, 21);
}

TEST_F(ChangedResumeTest, ThePrecisionOfARunIsKnownBeforeItIsOpened) {
  start("run", 2);
  EXPECT_EQ(recorded_precision(root_ / "run"), "float64");
  EXPECT_EQ(recorded_precision(root_ / "nothing"), "");
  EXPECT_EQ(recorded_precision({}), "");
  std::filesystem::create_directories(root_ / "damaged");
  write_file_atomically(root_ / "damaged" / "run.json", R"({"environment": {"precision": 3)");
  EXPECT_EQ(recorded_precision(root_ / "damaged"), "");
}

TEST_F(ChangedResumeTest, OtherDataAreNamed) {
  start("run", 3);
  for (const auto& [train, valid, expected] :
       {std::tuple{make_points(kPoints, 9), make_points(50, 2), "training data was 200 samples"},
        std::tuple{make_points(kPoints), make_points(50, 3), "validation data was 50 samples"},
        std::tuple{make_points(kPoints), data::DatasetPtr(), "validation data was 50 samples"}}) {
    ToyTraining training = make("run", {"--resume"});
    try {
      training.trainer.fit(train, valid);
      ADD_FAILURE() << "accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(expected));
    }
  }
}

TEST_F(ChangedResumeTest, AllowedChangesAreListedAndUsed) {
  start("run", 3, {"--epochs", "3", "--schedule", "constant"});
  const auto recorder = resume("run", {"--epochs", "3", "--schedule", "constant", "--learning-rate", "0.01",
                                       "--clip-norm", "1", "--allow-changed"});
  EXPECT_THAT(log_,
              HasSubstr("changed: learning-rate was 0.05 (set by the program), is 0.01 (--learning-rate)"));
  EXPECT_THAT(log_, HasSubstr("changed: clip-norm was 0.0 (default), is 1.0 (--clip-norm)"));
  EXPECT_EQ(result_.steps, 21);
  for (const double rate : recorder->rates) EXPECT_DOUBLE_EQ(rate, 0.01 * 32 / 256);
}

TEST_F(ChangedResumeTest, AnotherOrderBeginsThePassAnewAndKeepsTheNumberOfEpochs) {
  for (const Flags& change :
       {Flags{"--seed", "5"}, Flags{"--batch", "64"}, Flags{"--steps-per-epoch", "4"}}) {
    SCOPED_TRACE(change.front());
    const std::string run = "run" + change.front();
    start(run, 9, {"--epochs", "3"});  // in the second epoch
    Flags flags = {"--epochs", "3", "--allow-changed"};
    flags.insert(flags.end(), change.begin(), change.end());
    const auto recorder = resume(run, flags);
    const bool same_order = change.front() == "--steps-per-epoch";
    const std::int64_t per_epoch = change.front() == "--seed" ? 7 : 4;
    EXPECT_EQ(static_cast<std::int64_t>(recorder->losses.size()), 2 * per_epoch - (same_order ? 2 : 0));
    EXPECT_EQ(result_.epochs, 3);
    EXPECT_LT(recorder->rates.back(), 1e-4 * recorder->rates.front()) << "the schedule ends with the run";
    // What was changed once is the run's own setting from then on.
    EXPECT_EQ(refusal(run, {"--epochs", "3", change[0], change[1]}), "");
  }
}

TEST_F(ChangedResumeTest, OtherEpochsKeepThePlanOfTheLearningRate) {
  ToyTraining whole = make("whole", {"--epochs", "6"});
  auto undisturbed = std::make_shared<LossRecorder>();
  whole.trainer.add_callback(undisturbed);
  whole.trainer.fit(make_points(kPoints), make_points(50, 2));

  start("fewer", 5, {"--epochs", "6"});
  const auto fewer = resume("fewer", {"--epochs", "2"});
  EXPECT_EQ(result_.steps, 14);
  EXPECT_THAT(
      log_, HasSubstr("epochs was 6 (--epochs), is 2 (--epochs); the learning rate keeps to its plan over 42 "
                      "steps, reschedule makes a new one over 14"));
  for (std::size_t i = 0; i < fewer->rates.size(); ++i) {
    EXPECT_EQ(fewer->rates[i], undisturbed->rates[5 + i]);
    EXPECT_EQ(fewer->losses[i], undisturbed->losses[5 + i]);
  }
  // And back to the six of the plan: as if nothing had been.
  const auto rest = resume("fewer", {"--epochs", "6"});
  ASSERT_EQ(rest->losses.size(), 28U);
  EXPECT_EQ(rest->losses, std::vector<double>(undisturbed->losses.begin() + 14, undisturbed->losses.end()));
}

TEST_F(ChangedResumeTest, RescheduleStretchesThePlan) {
  start("run", 5, {"--epochs", "2"});
  const auto recorder = resume("run", {"--epochs", "4", "--reschedule"});
  EXPECT_EQ(result_.steps, 28);
  EXPECT_THAT(
      log_,
      HasSubstr(
          "epochs was 2 (--epochs), is 4 (--epochs); the learning rate is planned anew, over 28 steps"));
  ToyTraining planned = make("planned", {"--epochs", "4"});
  auto reference = std::make_shared<LossRecorder>();
  planned.trainer.add_callback(reference);
  planned.trainer.fit(make_points(kPoints), make_points(50, 2));
  for (std::size_t i = 0; i < recorder->rates.size(); ++i)
    EXPECT_EQ(recorder->rates[i], reference->rates[5 + i]) << i;
}

TEST_F(ChangedResumeTest, RunJsonKeepsSessionsAndEffectiveValues) {
  start("run", 5, {"--epochs", "2", "--clip-norm", "3"});
  resume("run", {"--epochs", "2", "--clip-norm", "3"});
  const auto json = description("run");
  ASSERT_EQ(json.at("sessions").size(), 2U);
  EXPECT_EQ(json["sessions"][0]["first_step"], 0);
  EXPECT_EQ(json["sessions"][1]["first_step"], 5);
  EXPECT_EQ(json["started"], json["sessions"][0]["started"]);
  const std::string configuration = json.at("configuration");
  EXPECT_THAT(configuration, HasSubstr("\nlearning-rate = 0.05\n"));
  EXPECT_THAT(configuration, HasSubstr("\nclip-norm = 3.0\n"));
  EXPECT_THAT(configuration, HasSubstr("# card = \"auto\"  (not used by this run)"));
  EXPECT_THAT(configuration, Not(HasSubstr("\nrun = ")));
  // Peak rates, not where the resumed run stood.
  EXPECT_THAT(std::string(json["summary"]["Optimizer"]), HasSubstr("learning_rate 0.00625,"));
  EXPECT_THAT(std::string(json["summary"]["Learning rate"]), HasSubstr("peak 0.00625 (0.05 at batch 256)"));
}

TEST_F(ChangedResumeTest, TheRecordedConfigurationTrainsTheSame) {
  ToyTraining first =
      make("first", {"--epochs", "4", "--seed", "3"},
           {.epochs = 9, .schedule = optim::ScheduleKind::cosine, .clip_norm = 1.0, .accumulate = 2});
  auto losses = std::make_shared<LossRecorder>();
  first.trainer.add_callback(losses);
  first.trainer.fit(make_points(kPoints), nullptr);
  write_file_atomically(root_ / "config.toml", std::string(description("first")["configuration"]));

  // A program that sets nothing itself, its optimizer at another rate: the file says it all.
  ToyTraining again(mpi::Comm::self(), root_ / "again", {"--config", (root_ / "config.toml").string()}, {},
                    recording(log_));
  again.optimizer.set_learning_rate(1);
  auto same = std::make_shared<LossRecorder>();
  again.trainer.add_callback(same);
  again.trainer.fit(make_points(kPoints), nullptr);
  EXPECT_EQ(same->losses, losses->losses);
  EXPECT_EQ(same->rates, losses->rates);
  EXPECT_THAT(log_, Not(HasSubstr("nothing in this run uses it")));
}

TEST_F(ChangedResumeTest, PrintConfigShowsWhatTheProgramDecides) {
  ToyTraining training =
      make("printed", {"--print-config", "--learning-rate", "0.25"}, {.epochs = 9, .clip_norm = 1.5});
  std::string shown;
  try {
    training.trainer.fit(make_points(kPoints), nullptr);
  } catch (const EffectiveConfiguration& effective) {
    shown = effective.toml;
  }
  for (const char* line :
       {"(set by the program)\nepochs = 9\n", "\nclip-norm = 1.5\n", "\nlearning-rate = 0.25\n"})
    EXPECT_THAT(shown, HasSubstr(line));
  EXPECT_FALSE(std::filesystem::exists(root_ / "printed")) << "nothing is written";
}

TEST_F(ChangedResumeTest, OptionsThatNothingUsesAreNamed) {
  ToyTraining training =
      make("run", {"--card", "jetnet", "--warmup-steps", "7", "--clip-norm", "1"}, {.epochs = 1});
  training.trainer.fit(make_points(kPoints), nullptr);
  EXPECT_THAT(log_, HasSubstr("card = \"jetnet\" (--card) was given, but nothing in this run uses it"));
  EXPECT_THAT(log_, HasSubstr("warmup-steps = 7"));
  EXPECT_THAT(log_, Not(HasSubstr("clip-norm")));
}

TEST_F(ChangedResumeTest, BoundedRunsFollowTheSameOrder) {
  const auto losses_of = [&](const std::string& run, Flags flags) {
    flags.insert(flags.end(), {"--schedule", "constant"});
    ToyTraining training = make(run, flags);
    auto recorder = std::make_shared<LossRecorder>();
    training.trainer.add_callback(recorder);
    result_ = training.trainer.fit(make_points(kPoints), make_points(50, 2));
    return recorder->losses;
  };
  const auto whole = losses_of("whole", {"--epochs", "4"});
  ASSERT_EQ(whole.size(), 28U);
  const auto begin = [&](std::size_t count) {
    return std::vector<double>(whole.begin(), whole.begin() + count);
  };

  EXPECT_EQ(losses_of("steps", {"--epochs", "4", "--max-steps", "10"}), begin(10));
  EXPECT_EQ(result_.epochs, 2);
  EXPECT_TRUE(result_.validation) << "the last epoch is judged, whole or not";
  EXPECT_TRUE(std::filesystem::exists(root_ / "steps" / "checkpoints" / "step-000010"));
  EXPECT_EQ(losses_of("samples", {"--epochs", "4", "--max-samples", "300"}), begin(10));

  EXPECT_EQ(losses_of("short", {"--epochs", "4", "--steps-per-epoch", "3"}), begin(12));
  EXPECT_EQ(result_.epochs, 4);
  EXPECT_EQ(losses_of("long", {"--epochs", "2", "--steps-per-epoch", "11"}), begin(22));
  std::int64_t epochs = 0;
  for (const auto& record : report::read_jsonl(root_ / "short" / "metrics.jsonl"))
    epochs += report::text(record, "kind") == "epoch";
  EXPECT_EQ(epochs, 4);
}

TEST_F(ChangedResumeTest, TheScheduleOfABoundedRunEndsWithIt) {
  ToyTraining training = make("run", {"--epochs", "50", "--max-steps", "20"});
  auto recorder = std::make_shared<LossRecorder>();
  training.trainer.add_callback(recorder);
  training.trainer.fit(make_points(kPoints), nullptr);
  ASSERT_EQ(recorder->rates.size(), 20U);
  EXPECT_LT(recorder->rates.back(), 1e-3 * recorder->rates[6]);
}

TEST_F(ChangedResumeTest, BoundedRunsResumeBitEqual) {
  const Flags flags = {"--epochs", "5", "--steps-per-epoch", "4", "--max-steps", "18"};
  ToyTraining undisturbed = make("undisturbed", flags);
  undisturbed.trainer.fit(make_points(kPoints), make_points(50, 2));
  for (const std::int64_t stop_after : {1, 4, 7, 8, 13, 17}) {
    const std::string run = "stopped" + std::to_string(stop_after);
    start(run, stop_after, flags);
    Flags more = flags;
    more.push_back("--resume");
    ToyTraining second = make(run, more);
    EXPECT_EQ(second.trainer.fit(make_points(kPoints), make_points(50, 2)).steps, 18);
    EXPECT_EQ(second.weights(), undisturbed.weights()) << "stopped after step " << stop_after;
  }
}

TEST_F(ChangedResumeTest, ALargerBoundGoesOnInTheOrder) {
  const auto whole = [&] {
    ToyTraining training = make("whole", {"--epochs", "9", "--max-steps", "25", "--schedule", "constant"});
    auto recorder = std::make_shared<LossRecorder>();
    training.trainer.add_callback(recorder);
    training.trainer.fit(make_points(kPoints), make_points(50, 2));
    return recorder->losses;
  }();
  ToyTraining first = make("run", {"--epochs", "9", "--max-steps", "10", "--schedule", "constant"});
  first.trainer.fit(make_points(kPoints), make_points(50, 2));
  first.session.close();
  const auto rest = resume("run", {"--epochs", "9", "--max-steps", "25", "--schedule", "constant"});
  EXPECT_EQ(result_.steps, 25);
  // Batch statistics are combined at the ends of epochs, which are others now: the
  // first steps show the order.
  ASSERT_EQ(rest->losses.size(), 15U);
  for (std::size_t i = 0; i < rest->losses.size(); ++i) EXPECT_EQ(rest->losses[i], whole[10 + i]) << i;
  EXPECT_THAT(log_, HasSubstr("max-steps was 10 (--max-steps), is 25 (--max-steps)"));
}

TEST_F(ChangedResumeTest, ASnapshotOfVersion01StillResumes) {
  start("run", 5, {"--epochs", "2"});
  // Version 0.1 kept no settings: the same snapshot without them.
  ToyTraining reader = make("run", {"--resume", "--epochs", "2"});
  checkpoint::Store store(root_ / "run" / "checkpoints", reader.session.agreement());
  auto snapshot = store.load_latest();
  ASSERT_TRUE(snapshot);
  for (const char* name : {"settings", "steps_per_epoch", "schedule_steps", "unplanned_steps"})
    snapshot->components.at("trainer").values.erase(name);
  store.save({.step = snapshot->info.step,
              .components = snapshot->components,
              .rank_components = snapshot->rank_components,
              .metadata = snapshot->info.metadata});
  reader.session.close();
  resume("run", {"--epochs", "2"});
  EXPECT_EQ(result_.steps, 14);
}

}  // namespace
}  // namespace bunchtrain::train
