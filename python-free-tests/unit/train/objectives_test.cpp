// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/objectives.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Batch batch_of(NamedTensors tensors) {
  Batch batch;
  batch.tensors = std::move(tensors);
  return batch;
}

at::Tensor labels_of(std::vector<std::int64_t> labels) { return at::tensor(labels, at::kLong); }
at::Tensor reals(std::vector<double> values) { return at::tensor(values, at::kDouble); }

double loss_of(const nn::Objective& objective, const NamedTensors& outputs, const Batch& batch) {
  return objective(outputs, batch).total.item<double>();
}

std::string refusal(const nn::Objective& objective, const NamedTensors& outputs, const Batch& batch) {
  try {
    objective(outputs, batch);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ClassificationObjectiveTest, IsTheMeanCrossEntropy) {
  const at::Tensor logits = at::randn({5, 3}, at::kDouble), labels = labels_of({0, 2, 1, 1, 0});
  const nn::Losses losses = classification()({{"logits", logits}}, batch_of({{"label", labels}}));
  EXPECT_NEAR(losses.total.item<double>(), at::cross_entropy_loss(logits, labels).item<double>(), 1e-12);
  EXPECT_TRUE(losses.terms.empty());
}

TEST(ClassificationObjectiveTest, WeightsScaleTheirSamples) {
  const at::Tensor logits = at::randn({2, 2}, at::kDouble);
  const double first =
      loss_of(classification(), {{"logits", logits.slice(0, 0, 1)}}, batch_of({{"label", labels_of({0})}}));
  const Batch weighted = batch_of({{"label", labels_of({0, 1})}, {"weight", reals({2, 0})}});
  EXPECT_NEAR(loss_of(classification(), {{"logits", logits}}, weighted), first, 1e-12);
  EXPECT_NE(loss_of(classification({.weight = "other"}), {{"logits", logits}}, weighted), first);
}

TEST(ClassificationObjectiveTest, AnEmptyShareHasLossZeroWithAGraph) {
  const at::Tensor logits = at::empty({0, 2}, at::kFloat).requires_grad_();
  const at::Tensor loss =
      classification()({{"logits", logits}}, batch_of({{"label", at::empty({0}, at::kLong)}})).total;
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_TRUE(loss.requires_grad());
}

TEST(ClassificationObjectiveTest, StaysInFloat32UnderReducedPrecision) {
  const at::Tensor logits = at::randn({4, 2}).to(at::kBFloat16);
  const auto losses = classification()({{"logits", logits}}, batch_of({{"label", labels_of({0, 1, 0, 1})}}));
  EXPECT_EQ(losses.total.scalar_type(), at::kFloat);
}

TEST(ClassificationObjectiveTest, SaysWhatDoesNotFit) {
  const Batch batch = batch_of({{"label", labels_of({0, 1})}});
  EXPECT_THAT(refusal(classification(), {{"logits", at::randn({3, 2})}}, batch), HasSubstr("logits [2, C]"));
  EXPECT_THAT(refusal(classification({.output = "flavour"}), {{"logits", at::randn({2, 2})}}, batch),
              AllOf(HasSubstr("no output 'flavour'"), HasSubstr("it gives logits")));
  EXPECT_THAT(refusal(classification({.label = "truth"}), {{"logits", at::randn({2, 2})}}, batch),
              AllOf(HasSubstr("no tensor 'truth'"), HasSubstr("[label]")));
}

TEST(RegressionObjectiveTest, EachLossIsTheMeanOfItsTerms) {
  const NamedTensors outputs = {{"e", reals({1.5, -1, 4})}, {"s", reals({1, 2, 4})}};
  const Batch batch = batch_of({{"energy", reals({1, 1, 1})}});  // residuals 0.5, -2, 3
  const auto loss = [&](RegressionLoss kind) {
    return loss_of(regression({.output = "e", .target = "energy", .loss = kind}), outputs, batch);
  };
  EXPECT_NEAR(loss(RegressionLoss::mse), (0.25 + 4 + 9) / 3, 1e-12);
  EXPECT_NEAR(loss(RegressionLoss::huber), (0.125 + 1.5 + 2.5) / 3, 1e-12);
  EXPECT_NEAR(loss(RegressionLoss::l1), (0.5 + 2 + 3) / 3, 1e-12);
  const auto gaussian =
      regression({.output = "e", .target = "energy", .width = "s", .loss = RegressionLoss::gaussian});
  EXPECT_NEAR(loss_of(gaussian, outputs, batch),
              (0.125 + (std::log(2) + 0.5) + (std::log(4) + 0.5 * 9 / 16)) / 3, 1e-12);
}

TEST(RegressionObjectiveTest, AScaleMakesResidualsPureNumbers) {
  const NamedTensors outputs = {{"e", reals({110, 190})}, {"w", reals({20, 40})}};
  const Batch batch = batch_of({{"energy", reals({100, 200})}});
  const NamedTensors in_tens = {{"e", reals({11, 19})}, {"w", reals({2, 4})}};
  const Batch batch_in_tens = batch_of({{"energy", reals({10, 20})}});
  for (const auto loss :
       {RegressionLoss::mse, RegressionLoss::huber, RegressionLoss::l1, RegressionLoss::gaussian}) {
    RegressionTarget names{.output = "e", .target = "energy", .loss = loss};
    if (loss == RegressionLoss::gaussian) names.width = "w";
    const double expected = loss_of(regression(names), in_tens, batch_in_tens);
    names.scale = 10;
    EXPECT_NEAR(loss_of(regression(names), outputs, batch), expected, 1e-12);
  }
  for (const double scale : {0.0, -1.0, static_cast<double>(NAN)})
    EXPECT_THROW(regression({.output = "e", .target = "energy", .scale = scale}), ConfigError);
}

TEST(RegressionObjectiveTest, TakesAColumnAndWeights) {
  const Batch batch = batch_of({{"energy", reals({1, 1})}, {"weight", reals({2, 0})}});
  const auto objective = regression({.output = "e", .target = "energy"});
  EXPECT_NEAR(loss_of(objective, {{"e", reals({4, 100}).unsqueeze(1)}}, batch), 9, 1e-12);
  const at::Tensor none = at::empty({0, 1}, at::kFloat).requires_grad_();
  const at::Tensor loss = objective({{"e", none}}, batch_of({{"energy", at::empty({0})}})).total;
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_TRUE(loss.requires_grad());
}

TEST(RegressionObjectiveTest, SaysWhatDoesNotFit) {
  const auto objective = regression({.output = "e", .target = "energy"});
  EXPECT_THAT(refusal(objective, {{"e", reals({1})}}, batch_of({{"label", labels_of({0})}})),
              AllOf(HasSubstr("no tensor 'energy'"), HasSubstr("entry 'energy' in [targets]")));
  EXPECT_THAT(refusal(objective, {{"e", at::randn({2, 3})}}, batch_of({{"energy", reals({1, 2})}})),
              AllOf(HasSubstr("'e' must be [2]"), HasSubstr("[2, 3]")));
  EXPECT_THROW(regression({.output = "e"}), ConfigError);
  EXPECT_THROW(regression({.target = "e"}), ConfigError);
  EXPECT_THROW(regression({.output = "e", .target = "t", .width = "w"}), ConfigError);
  EXPECT_THROW(regression({.output = "e", .target = "t", .loss = RegressionLoss::gaussian}), ConfigError);
}

TEST(HeadsObjectiveTest, AddsWeightedLossesAndKeepsEach) {
  const at::Tensor logits = at::randn({2, 2}, at::kDouble).requires_grad_();
  const at::Tensor energy = reals({3, 1}).requires_grad_();
  const Batch batch = batch_of({{"label", labels_of({0, 1})}, {"energy", reals({1, 1})}});
  const NamedTensors outputs = {{"logits", logits}, {"e", energy}};
  const auto objective = heads(
      {{"flavour", classification()}, {"energy", regression({.output = "e", .target = "energy"}), 0.25}});
  const nn::Losses losses = objective(outputs, batch);
  ASSERT_EQ(losses.terms.size(), 2U);
  const double flavour = loss_of(classification(), outputs, batch);
  EXPECT_NEAR(losses.terms["flavour"].item<double>(), flavour, 1e-12);
  EXPECT_NEAR(losses.terms["energy"].item<double>(), 2, 1e-12) << "not weighted";
  EXPECT_NEAR(losses.total.item<double>(), flavour + 0.25 * 2, 1e-12);
  losses.total.backward();
  EXPECT_NEAR(energy.grad()[0].item<double>(), 0.25 * 2 * 2 / 2, 1e-12);
  EXPECT_TRUE(logits.grad().defined());
}

TEST(HeadsObjectiveTest, AHeadWithoutItsTensorIsNamed) {
  const auto objective =
      heads({{"flavour", classification()}, {"energy", regression({.output = "e", .target = "energy"})}});
  const NamedTensors outputs = {{"logits", at::randn({1, 2})}, {"e", reals({1})}};
  EXPECT_THAT(refusal(objective, outputs, batch_of({{"label", labels_of({0})}})),
              AllOf(HasSubstr("in head 'energy'"), HasSubstr("no tensor 'energy'"), HasSubstr("[targets]")));
  EXPECT_THAT(refusal(objective, outputs, batch_of({{"energy", reals({1})}})),
              AllOf(HasSubstr("in head 'flavour'"), HasSubstr("no tensor 'label'"), HasSubstr("[label]")));
}

/// A batch of two events of 1 and 3 hits, with a label for each hit.
TEST(ElementObjectiveTest, SaysWhetherItIsAMeanOverSamplesOrElements) {
  Batch events = batch_of({{"label", labels_of({0, 1, 1, 0})}});
  events.sample_ids = labels_of({0, 1});
  events.element_splits = labels_of({0, 1, 4});
  events.elements = events.global_elements = 4;
  events.global_samples = 2;
  const nn::Objective over_hits = classification({.mean_over = nn::MeanOver::elements});
  EXPECT_EQ(over_hits.count(events), 4);
  EXPECT_EQ(classification().count(events), 2);
  EXPECT_EQ(heads({{"noise", over_hits}}).global_count(events), 4);
  const at::Tensor logits = at::randn({4, 2}, at::kDouble);
  EXPECT_DOUBLE_EQ(loss_of(over_hits, {{"logits", logits}}, events),
                   at::cross_entropy_loss(logits, events["label"]).item<double>());
  EXPECT_THAT(refusal(classification(), {{"logits", logits}}, events),
              AllOf(HasSubstr("'label' has 4 rows"), HasSubstr("mean over the batch's 2 samples")));
  events.tensors.set("energy", reals({1, 2}));
  EXPECT_THAT(refusal(regression({.output = "e", .target = "energy", .mean_over = nn::MeanOver::elements}),
                      {{"e", reals({1, 2})}}, events),
              AllOf(HasSubstr("'energy' has 2 rows"), HasSubstr("mean over the batch's 4 elements")));
}

TEST(HeadsObjectiveTest, RefusesMeansOverDifferentThings) {
  try {
    heads({{"noise", classification({.mean_over = nn::MeanOver::elements})},
           {"energy", regression({.output = "e", .target = "energy"})}});
    FAIL() << "the sum is a mean of nothing";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("energy"), HasSubstr("'noise'"), HasSubstr("mean_over")));
  }
}

TEST(HeadsObjectiveTest, RefusesHeadsThatCannotBeToldApart) {
  EXPECT_THROW(heads({}), ConfigError);
  EXPECT_THROW(heads({{"a", nullptr}}), ConfigError);
  EXPECT_THROW(heads({{"a", classification()}, {"a", classification()}}), ConfigError);
  EXPECT_THROW(heads({{"a", classification(), -1}}), ConfigError);
  EXPECT_THROW(heads({{"a", classification(), std::nan("")}}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
