// SPDX-License-Identifier: Apache-2.0
// Validations of regressions and of several heads: what their metrics are called, what they say when something
// is missing.

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

at::Tensor reals(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

Batch jets() {
  Batch batch;
  batch.tensors = {{"label", at::tensor({0, 1, 0, 1}, at::kLong)}, {"energy", reals({10, 20, 30, 40})}};
  batch.sample_ids = at::arange(4, at::kLong);
  return batch;
}

NamedTensors outputs() {
  return {{"logits", reals({2, 0, 0, 1, 0, 1, 0, 3}).view({4, 2})},
          {"e", reals({11, 21, 32, 40})},
          {"s", reals({1, 1, 2, 1})}};
}

ValidationResult validate(Validation& validation, std::optional<double> loss = {}) {
  validation.add(jets(), outputs());
  auto self = comm::Communicator::self();
  return validation.finish(self, loss);
}

std::vector<std::string> names_of(const ValidationResult& result) {
  std::vector<std::string> names;
  for (const auto& metric : result.metrics) names.push_back(metric.name);
  return names;
}

double metric(const ValidationResult& result, const std::string& name) {
  for (const auto& value : result.metrics)
    if (value.name == name) return value.value;
  ADD_FAILURE() << "no metric " << name;
  return 0;
}

std::string refusal(Validation& validation, const Batch& batch, const NamedTensors& outputs) {
  try {
    validation.add(batch, outputs);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RegressionValidationTest, NamesItsNumbers) {
  const auto validation =
      make_regression_validation({.output = "e", .target = "energy", .width = "s", .unit = "GeV"});
  const ValidationResult result = validate(*validation, 0.25);
  EXPECT_EQ(*result.loss, 0.25);
  EXPECT_THAT(names_of(result),
              ElementsAre("valid_bias", "valid_resolution", "valid_deviation", "valid_absolute_error",
                          "valid_squared_error", "valid_pull_mean", "valid_pull_width"));
  EXPECT_DOUBLE_EQ(metric(result, "valid_bias"), 1);
  EXPECT_DOUBLE_EQ(metric(result, "valid_pull_mean"), 0.75);
  EXPECT_EQ(*result.score, -metric(result, "valid_resolution"));
  EXPECT_EQ(result.score_name, "negative valid_resolution");
  EXPECT_EQ(result.sections.at(0).title, "Regression");
  EXPECT_THAT(result.text, AllOf(HasSubstr("4 jets"), HasSubstr("Bias"), HasSubstr("Width of pulls")));
}

TEST(RegressionValidationTest, ForgetsWhatWasJudgedAndWhatWasDiscarded) {
  const auto validation = make_regression_validation({.output = "e", .target = "energy"});
  validate(*validation);
  validation->add(jets(), outputs());
  validation->discard();
  const ValidationResult result = validate(*validation);
  EXPECT_THAT(result.text, HasSubstr("4 jets"));
  EXPECT_EQ(result.metrics.size(), 5U) << "no pulls without widths";
}

TEST(RegressionValidationTest, SaysWhatIsMissing) {
  EXPECT_THROW(make_regression_validation({.output = "e"}), ConfigError);
  EXPECT_THROW(make_regression_validation({.target = "energy"}), ConfigError);
  const auto validation = make_regression_validation({.output = "x", .target = "energy"});
  EXPECT_THAT(refusal(*validation, jets(), outputs()), HasSubstr("no output 'x'; it gives logits, e, s"));
  const auto mass = make_regression_validation({.output = "e", .target = "mass"});
  EXPECT_THAT(refusal(*mass, jets(), outputs()), HasSubstr("entry 'mass' in [targets]"));
}

std::shared_ptr<Validation> two_heads() {
  return make_heads_validation(
      {{"flavour", make_classification_validation(classification_options({"light", "b"}, "b"))},
       {"energy", make_regression_validation({.output = "e", .target = "energy"})}});
}

TEST(HeadsValidationTest, CarriesEachHeadsNumbersUnderItsName) {
  const ValidationResult result = validate(*two_heads(), 0.5);
  EXPECT_EQ(*result.loss, 0.5);
  EXPECT_DOUBLE_EQ(metric(result, "valid_energy_bias"), 1);
  EXPECT_DOUBLE_EQ(metric(result, "valid_flavour_accuracy"), 0.75);
  EXPECT_EQ(result.score_name, "valid_flavour_auc");
  EXPECT_EQ(*result.score, metric(result, "valid_flavour_auc"));
  EXPECT_EQ(result.sections.front().title, "flavour: Results");
  EXPECT_EQ(result.sections.front().numbers.front().label, "flavour: AUC");
  EXPECT_EQ(result.sections.back().title, "energy: Bias and resolution against energy");
  EXPECT_THAT(result.text, AllOf(HasSubstr("flavour:\n"), HasSubstr("energy:\n")));
}

TEST(HeadsValidationTest, TheScoreIsOfTheFirstHeadThatHasOne) {
  const auto validation = make_heads_validation(
      {{"energy", make_regression_validation({.output = "e", .target = "energy"})},
       {"flavour", make_classification_validation(classification_options({"light", "b"}, "b"))}});
  EXPECT_EQ(validate(*validation).score_name, "negative valid_energy_resolution");
}

TEST(HeadsValidationTest, AHeadWithoutItsLabelIsNamed) {
  Batch batch = jets();
  batch.tensors = {{"energy", reals({10, 20, 30, 40})}};
  EXPECT_THAT(refusal(*two_heads(), batch, outputs()),
              AllOf(HasSubstr("in head 'flavour'"), HasSubstr("no tensor 'label'"), HasSubstr("[label]")));
}

TEST(HeadsValidationTest, RefusesHeadsThatCannotBeToldApart) {
  const auto one = make_regression_validation({.output = "e", .target = "energy"});
  EXPECT_THROW(make_heads_validation({}), ConfigError);
  EXPECT_THROW(make_heads_validation({{"a", nullptr}}), ConfigError);
  EXPECT_THROW(make_heads_validation({{"a", one}, {"a", one}}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
