// SPDX-License-Identifier: Apache-2.0
// A trainer that enqueues steps before the losses of earlier ones are read, as it does on a GPU.

#include <ATen/TensorOperators.h>
#include <ATen/ops/sqrt.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using test::AfterStep;
using test::FinishAfter;
using test::LossRecorder;
using test::make_points;
using test::ToyTraining;
using testing::HasSubstr;

constexpr std::int64_t kPasses = 2;  ///< per step

/// A toy training that counts the steps it enqueues and may spoil one of them.
struct CountedTraining {
  /// From the loss of a step to another one.
  using Spoil = std::function<at::Tensor(std::int64_t step, const at::Tensor& loss)>;

  ToyTraining parts;
  Spoil spoil;
  std::int64_t passes = 0;
  Trainer trainer;

  CountedTraining(const std::filesystem::path& folder, std::vector<std::string> flags, std::int64_t run_ahead,
                  TrainerOptions options, Spoil by)
      : parts(mpi::Comm::self(), folder, std::move(flags)),
        spoil(std::move(by)),
        trainer(parts.session, parts.parallel, parts.optimizer, objective(),
                with(run_ahead, std::move(options))) {}

  std::int64_t enqueued() const { return passes / kPasses; }
  nn::Objective objective() {
    return [this](const NamedTensors& outputs, const Batch& batch) -> nn::Losses {
      const at::Tensor loss = classification()(outputs, batch).total;
      if (!parts.network->is_training()) return loss;
      const std::int64_t step = passes++ / kPasses + 1;
      return spoil ? spoil(step, loss) : loss;
    };
  }
  static TrainerOptions with(std::int64_t run_ahead, TrainerOptions options) {
    options.epochs = 3;
    options.batch = 32;
    options.run_ahead = run_ahead;
    return options;
  }
};

/// 200 points in batches of 32: 7 steps an epoch, 3 epochs. Snapshots after 3, 6, ...
/// and at the end of epochs.
class RunAheadTest : public test::TrainerFixture, public testing::WithParamInterface<std::int64_t> {
 protected:
  static constexpr std::int64_t kSteps = 21;
  static bool looked_at(std::int64_t step) { return step % 3 == 0 || step % 5 == 0 || step % 7 == 0; }
  /// The last step that may be enqueued while `step` is not settled.
  static std::int64_t reach(std::int64_t step) {
    std::int64_t last = step;
    while (!looked_at(last) && last < step + GetParam()) ++last;
    return last;
  }

  CountedTraining make_run(const std::string& name, std::int64_t run_ahead,
                           std::vector<std::string> flags = {}, TrainerOptions options = {},
                           CountedTraining::Spoil spoil = {}) {
    for (const char* flag : {"--checkpoint-every", "3", "--check-replicas", "5", "--keep-last", "99",
                             "--accumulate", "2", "--clip-norm", "0.5"})
      flags.emplace_back(flag);
    return {root_ / name, std::move(flags), run_ahead, std::move(options), std::move(spoil)};
  }
  std::vector<double> undisturbed() {
    CountedTraining run = make_run("undisturbed", 0);
    run.trainer.fit(points_, others_);
    return run.parts.weights();
  }
  /// metrics.jsonl without what the clock says.
  std::vector<report::Record> untimed_records(const std::string& run) const {
    std::vector<report::Record> kept;
    for (const auto& record : report::read_jsonl(root_ / run / "metrics.jsonl")) {
      kept.emplace_back();
      for (const auto& field : record)
        if (field.name != "samples_per_second" && !field.name.starts_with("seconds") &&
            !field.name.starts_with("loader_"))
          kept.back().push_back(field);
    }
    return kept;
  }
  void expect_same_record(const std::string& run) const {
    const auto expected = untimed_records("undisturbed"), found = untimed_records(run);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].size(), expected[i].size()) << "record " << i;
      for (std::size_t field = 0; field < found[i].size(); ++field) {
        EXPECT_EQ(found[i][field].name, expected[i][field].name);
        EXPECT_EQ(found[i][field].value, expected[i][field].value) << found[i][field].name;
      }
    }
  }
  void expect_same_snapshots(const std::string& run) const {
    std::size_t files = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(root_ / "undisturbed" / "checkpoints")) {
      if (entry.path().extension() != ".safetensors") continue;
      const auto path = std::filesystem::relative(entry.path(), root_ / "undisturbed");
      EXPECT_EQ(read(run / path), read("undisturbed" / path)) << path;
      ++files;
    }
    EXPECT_GE(files, 9 * 4U) << "model, optimizer, loader and trainer of nine steps";
    EXPECT_EQ(read(run + "/checkpoints/best"), read("undisturbed/checkpoints/best"));
  }
  std::string halt_of(CountedTraining& run) {
    try {
      run.trainer.fit(points_, others_);
      return "not halted";
    } catch (const TrainingHalted& halted) {
      return halted.message();
    }
  }

  const data::DatasetPtr points_ = make_points(200), others_ = make_points(50, 2);
};

TEST_P(RunAheadTest, WeightsSnapshotsAndRecordsAreTheSame) {
  const auto expected = undisturbed();
  CountedTraining run = make_run("ahead", GetParam());
  const FitResult result = run.trainer.fit(points_, others_);
  EXPECT_EQ(result.steps, kSteps);
  EXPECT_EQ(run.parts.weights(), expected);
  expect_same_snapshots("ahead");
  expect_same_record("ahead");
}

TEST_P(RunAheadTest, ResumesWithTheSameBits) {
  const auto expected = undisturbed();
  for (const std::int64_t stop_after : {1, 4, 13}) {
    const std::string name = "stopped" + std::to_string(stop_after);
    CountedTraining first = make_run(name, GetParam());
    first.trainer.add_callback(std::make_shared<LossRecorder>(&first.parts.session, stop_after));
    EXPECT_THROW(first.trainer.fit(points_, others_), Interrupted);
    EXPECT_TRUE(std::filesystem::exists(snapshot(name, first.enqueued()))) << "every step counts";
    EXPECT_LE(first.enqueued(), stop_after + 1 + GetParam());
    first.parts.session.close();
    CountedTraining second = make_run(name, GetParam(), {"--resume"});
    EXPECT_EQ(second.trainer.fit(points_, others_).steps, kSteps);
    EXPECT_EQ(second.parts.weights(), expected) << "stopped after step " << stop_after;
    expect_same_record(name);
  }
}

TEST_P(RunAheadTest, StepsAreToldInOrderAndAllOfThemBeforeTheNetworksAreLookedAt) {
  CountedTraining run = make_run("told", GetParam());
  std::vector<std::int64_t> told;
  run.trainer.add_callback(std::make_shared<AfterStep>([&](const StepEvent& event) {
    told.push_back(event.step);
    EXPECT_EQ(run.enqueued(), reach(event.step)) << "when step " << event.step << " is told";
  }));
  // The state of a callback is part of a snapshot: what had been told when it was taken.
  struct Told : Callback {
    explicit Told(const std::vector<std::int64_t>& told) : told(told) {}
    std::string name() const override { return "told"; }
    std::string state() const override { return std::to_string(told.empty() ? 0 : told.back()); }
    void on_checkpoint(const std::filesystem::path& folder) override {
      const auto info = checkpoint::read_info(folder);
      EXPECT_EQ(info.metadata.at("callback.told"), std::to_string(info.step));
      EXPECT_GE(told.back(), info.step);
      ++snapshots;
    }
    const std::vector<std::int64_t>& told;
    int snapshots = 0;
  };
  const auto seen = std::make_shared<Told>(told);
  run.trainer.add_callback(seen);
  run.trainer.fit(points_, others_);
  ASSERT_EQ(std::ssize(told), kSteps);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_GE(seen->snapshots, 9);
}

TEST_P(RunAheadTest, ALossThatIsNotFiniteIsNamedAndTheLastGoodSnapshotStays) {
  CountedTraining run = make_run("lost", GetParam(), {}, {}, [](std::int64_t step, const at::Tensor& loss) {
    return step == 11 ? loss * std::nan("") : loss;
  });
  const std::string message = halt_of(run);
  EXPECT_THAT(message, HasSubstr("the loss is not finite at step 11"));
  EXPECT_THAT(message, HasSubstr("is that of step 9"));
  EXPECT_EQ(run.enqueued(), 12) << "and no further";
  EXPECT_TRUE(checkpoint::read_info(snapshot("lost", 9)).lost.empty());
}

TEST_P(RunAheadTest, GradientsThatAreNotFiniteAreNamed) {
  CountedTraining run = make_run("lost", GetParam());
  run.spoil = [&](std::int64_t step, const at::Tensor& loss) {
    // The root of zero: a value of zero, a slope that is none.
    return step == 11 ? loss + at::sqrt(run.parts.network->second->bias.sum() * 0) : loss;
  };
  const std::string message = halt_of(run);
  EXPECT_THAT(message, HasSubstr("the gradients are not finite at step 11"));
}

TEST_P(RunAheadTest, AReasonToHaltNamesItsStepAndSavesTheNewest) {
  const TrainerOptions options{
      .halt_when = [](const StepEvent& event) { return event.step >= 1 ? "collapsed" : ""; }};
  CountedTraining run = make_run("halted", GetParam(), {}, options);
  EXPECT_THAT(halt_of(run), HasSubstr("collapsed (step 1; a snapshot is in"));
  EXPECT_EQ(run.enqueued(), reach(1));
  EXPECT_TRUE(std::filesystem::exists(snapshot("halted", run.enqueued())));
  expect_steps("halted", run.enqueued());
}

TEST_P(RunAheadTest, AWishToFinishIsHeard) {
  const auto expected = undisturbed();
  CountedTraining first = make_run("finished", GetParam());
  first.trainer.add_callback(std::make_shared<FinishAfter>(1));
  const FitResult result = first.trainer.fit(points_, others_);
  EXPECT_EQ(result.finished_early, "good enough");
  EXPECT_EQ(result.steps, first.enqueued());
  EXPECT_LE(result.steps, 2 + GetParam());
  expect_steps("finished", result.steps);
  first.parts.session.close();
  CountedTraining second = make_run("finished", GetParam(), {"--resume"});
  second.trainer.fit(points_, others_);
  EXPECT_EQ(second.parts.weights(), expected);
}

INSTANTIATE_TEST_SUITE_P(Steps, RunAheadTest, testing::Values(1, 4), testing::PrintToStringParamName());

using LossTermsTest = test::TrainerFixture;

TEST_F(LossTermsTest, ScalarsOfADeviceAreAsGoodAsNumbers) {
  const auto losses_of = [&](const std::string& name, bool numbers) {
    ToyTraining parts = make(name);
    const ManualStep step = [&](const Batch& batch) -> LossTerms {
      const at::Tensor loss = loss_of(parts.network, batch);
      parts.parallel.backward(loss, {.samples = batch.size(), .global_samples = batch.global_size()});
      parts.optimizer.step();
      const at::Tensor twice = 2 * loss;
      if (numbers)
        return std::vector<LossTerm>{{"once", loss.item<double>()}, {"twice", twice.item<double>()}};
      NamedTensors scalars;
      scalars.set("once", loss);
      scalars.set("twice", twice);
      return scalars;
    };
    Trainer(parts.session, {{"model", &parts.parallel, &parts.optimizer}}, step, nullptr,
            {.epochs = 2, .run_ahead = numbers ? 0 : 1})
        .fit(make_points(100), nullptr);
    std::vector<double> found;
    for (const auto& record : records(name, "step"))
      for (const char* field : {"loss", "loss_once", "loss_twice"})
        found.push_back(report::number(record, field));
    return found;
  };
  const auto expected = losses_of("numbers", true);
  EXPECT_EQ(losses_of("tensors", false), expected);
  EXPECT_EQ(expected[2], 2 * expected[0]);
}

TEST(RunAheadOptionTest, MustNotBeNegative) {
  const auto root = std::filesystem::path(::testing::TempDir()) / "run_ahead_negative";
  EXPECT_THROW(
      ToyTraining(mpi::Comm::self(), root, {}, {.run_ahead = -1}).trainer.fit(make_points(40), nullptr),
      ConfigError);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace bunchtrain::train
