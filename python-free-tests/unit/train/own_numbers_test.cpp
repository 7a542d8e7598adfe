// SPDX-License-Identifier: Apache-2.0
// Metrics and logged values that a program adds in one line.
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/run_page.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// 200 points in batches of 32: 7 steps an epoch, 3 epochs.
class OwnNumbersTest : public TrainerFixture {
 protected:
  const data::DatasetPtr points_ = make_points(200), others_ = make_points(150, 2);

  static at::Tensor top_score(const NamedTensors& outputs, const Batch&) {
    return at::softmax(outputs["logits"], 1).select(1, 1);
  }
  /// What `fit` or `add_metric` refuses.
  template <class Action>
  static std::string refusal(Action action) {
    try {
      action();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  }
  std::string events(const std::string& run) const {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(root_ / run / "events"))
      all += read(entry.path());
    return all;
  }
};

TEST_F(OwnNumbersTest, AMetricIsTheMeanOverAllSamples) {
  ToyTraining training = make("run", {"--validate-every", "3"});
  std::vector<at::Tensor> seen;
  training.trainer.add_metric("mean_score", [&](const NamedTensors& outputs, const Batch& batch) {
    seen.push_back(top_score(outputs, batch));
    return seen.back();
  });
  training.trainer.add_metric("above", [](const NamedTensors& outputs, const Batch& batch) {
    return top_score(outputs, batch).gt(0.5).unsqueeze(1);  // [B, 1] of truth values
  });
  const train::FitResult result = training.trainer.fit(points_, others_);
  const auto epochs = records("run", "epoch");
  ASSERT_EQ(epochs.size(), 3U);
  const at::Tensor last = at::cat(seen).slice(0, -150);  // batches of 32, but for 22 at the end
  EXPECT_NEAR(report::number(epochs[2], "valid_mean_score"), last.mean().item<double>(), 1e-12);
  EXPECT_NEAR(report::number(epochs[2], "valid_above"), last.gt(0.5).to(at::kDouble).mean().item<double>(),
              1e-12);
  EXPECT_EQ(records("run", "validation").size(), 6U);
  for (const auto& record : records("run", "validation"))
    EXPECT_TRUE(std::isfinite(report::number(record, "valid_mean_score")));
  EXPECT_THAT(read("run/report.html"), HasSubstr("Mean score"));
  EXPECT_THAT(events("run"), HasSubstr("epoch/valid_mean_score"));
  ASSERT_TRUE(result.validation);
  EXPECT_EQ(result.validation->score_name, "valid_auc") << "as without it";
}

TEST_F(OwnNumbersTest, AMetricDecidesWhatIsBestAndStopsEarly) {
  ToyTraining training = make("run", {"--early-stop", "passes:2"});
  double value = 3;  // better after the first epoch, then worse for good
  training.trainer.add_metric(
      "passes",
      [&](const NamedTensors&, const Batch& batch) { return at::full({batch.size()}, value, at::kDouble); },
      {.decides_best = true});
  training.trainer.add_callback(std::make_shared<AfterStep>([&](const train::StepEvent& event) {
    if (event.step % 7 == 6) value = 3 - static_cast<double>(event.epoch);
  }));
  const train::FitResult result = training.trainer.fit(points_, others_);
  EXPECT_EQ(result.epochs, 3);
  EXPECT_EQ(read("run/checkpoints/best"), "step-000007\n");
  const auto info = checkpoint::read_info(snapshot("run", 7));
  EXPECT_EQ(info.metric, std::optional(3.0));
  EXPECT_EQ(result.validation->score_name, "valid_passes");
  ToyTraining smaller = make("smaller");
  smaller.trainer.add_metric(
      "passes",
      [&](const NamedTensors&, const Batch& batch) { return at::full({batch.size()}, value, at::kDouble); },
      {.decides_best = true, .smaller_is_better = true});
  value = 5;
  smaller.trainer.add_callback(std::make_shared<AfterStep>([&](const train::StepEvent& event) {
    if (event.step == 20) value = std::numeric_limits<double>::quiet_NaN();
  }));
  smaller.trainer.fit(points_, others_);  // a mean that is not finite ends nothing and is never the best
  EXPECT_EQ(checkpoint::read_info(snapshot("smaller", 14)).metric, std::optional(-5.0));
  EXPECT_FALSE(checkpoint::read_info(snapshot("smaller", 21)).metric);
  EXPECT_TRUE(std::isnan(report::number(records("smaller", "epoch").at(2), "valid_passes")));
}

TEST_F(OwnNumbersTest, MetricsThatCannotBeAreRefused) {
  ToyTraining training = make("run");
  const auto add = [&](const std::string& name, train::SampleMetricOptions options = {}) {
    return refusal([&] { training.trainer.add_metric(name, top_score, options); });
  };
  EXPECT_EQ(add("once", {.decides_best = true}), "accepted");
  EXPECT_THAT(add("once"), HasSubstr("no other metric"));
  EXPECT_THAT(add("loss"), HasSubstr("no other metric"));
  for (const char* name : {"", "mean score", "-score", "a/b"})
    EXPECT_THAT(add(name), HasSubstr("a word of")) << name;
  EXPECT_THAT(add("twice", {.decides_best = true}), HasSubstr("once does"));
  const auto fit = [&](const std::string& run, const std::string& name, const train::SampleMetric& metric) {
    return refusal([&] {
      ToyTraining other = make(run);
      other.trainer.add_metric(name, metric);
      other.trainer.fit(points_, others_);
    });
  };
  EXPECT_THAT(fit("clash", "auc", top_score), HasSubstr("finds valid_auc"));
  EXPECT_THAT(
      fit("shape", "all", [](const NamedTensors& outputs, const Batch&) { return outputs["logits"]; }),
      AllOf(HasSubstr("one number per sample, [32]"), HasSubstr("[32, 2]")));
}

TEST_F(OwnNumbersTest, ALoggedValueIsInEveryPlaceThatShowsSteps) {
  ToyTraining parts = make("run", {"--validate-every", "3"});
  train::Trainer trainer(parts.session, parts.parallel, parts.optimizer,
                         [&](const NamedTensors& outputs, const Batch& batch) {
                           parts.session.log("mean_x", batch["x"].mean());
                           return train::classification()(outputs, batch);
                         },
                         {.epochs = 3, .batch = 32, .accumulate = 2});
  std::vector<train::StepEvent> events_seen;
  trainer.add_callback(std::make_shared<AfterStep>([&](const train::StepEvent& event) {
    events_seen.push_back(event);
    if (event.step == 4) parts.session.log("after_four", 4.5);
    if (event.step == 8) parts.session.log("after_four", std::nan(""));
  }));
  trainer.fit(points_, others_);
  const auto steps = records("run", "step");
  ASSERT_EQ(steps.size(), 21U);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_TRUE(std::isfinite(report::number(steps[i], "mean_x"))) << i;
    EXPECT_EQ(report::find(steps[i], "after_four") != nullptr, i == 4 || i == 8) << i;
    EXPECT_EQ(events_seen[i].logged.size(), i == 4 || i == 8 ? 2U : 1U) << "those of validations are dropped";
  }
  EXPECT_EQ(report::number(steps[4], "after_four"), 4.5);
  EXPECT_TRUE(std::isnan(report::number(steps[8], "after_four")));
  EXPECT_THAT(events("run"), AllOf(HasSubstr("logged/mean_x"), HasSubstr("logged/after_four")));
  EXPECT_THAT(read("run/report.html"), AllOf(HasSubstr("<h3>Mean x</h3>"), HasSubstr("<h3>After four</h3>")));
  const std::string page = read("run/report.html");
  EXPECT_EQ(read(train::render_run(root_ / "run")), page);
}

TEST_F(OwnNumbersTest, AManualStepLogsAndHasMetrics) {
  ToyTraining parts = make("run");
  const train::ManualStep step = [&](const Batch& batch) -> std::vector<train::LossTerm> {
    parts.session.log("first", batch["x"][0][0]);
    parts.session.log("first", batch["x"][1][0]);  // the mean over both
    return {{"loss", 1.0}};
  };
  train::Trainer trainer(parts.session, {{"model", &parts.parallel, &parts.optimizer}}, step, nullptr,
                         {.epochs = 1, .batch = 32});
  trainer.add_metric("score", [&](const NamedTensors& outputs, const Batch& batch) {
    EXPECT_TRUE(outputs.empty()) << "networks of a manual step make their own";
    return parts.network->forward(batch["x"]).select(1, 0);
  });
  const auto found = trainer.fit(points_, others_).validation;
  ASSERT_TRUE(found);
  ASSERT_EQ(found->metrics.size(), 1U);
  EXPECT_EQ(found->metrics[0].name, "valid_score");
  for (const auto& record : records("run", "step"))
    EXPECT_TRUE(std::isfinite(report::number(record, "first")));
}

TEST_F(OwnNumbersTest, NamesOfOursAndWhatIsNoNumberAreRefused) {
  train::Session session =
      app::open_session(ToyTraining::parse(root_ / "run", {}), mpi::Comm::self(), Logger());
  const auto log = [&](const std::string& name) { return refusal([&] { session.log(name, 1.0); }); };
  for (const char* name :
       {"loss", "step", "epoch", "kind", "learning_rate", "gradient_norm", "scale_of_loss", "loss_x"})
    EXPECT_THAT(log(name), HasSubstr("another name")) << name;
  for (const char* name : {"", "a b", "1x"}) EXPECT_THAT(log(name), HasSubstr("a word of")) << name;
  EXPECT_THAT(refusal([&] { session.log("vector", at::full({3}, 1.0)); }), HasSubstr("one number"));
  EXPECT_EQ(log("lossless"), "accepted");
}

}  // namespace
}  // namespace bunchtrain::test
