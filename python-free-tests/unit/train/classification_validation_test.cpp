// SPDX-License-Identifier: Apache-2.0
/// What a classifier's validation prints: the step's own loss, and tables without numbers that mean nothing.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// `labels` with logits that favour the right class by `margin`.
Batch batch_of(const std::vector<std::int64_t>& labels, std::int64_t classes, double margin = 1) {
  Batch batch;
  const auto count = static_cast<std::int64_t>(labels.size());
  at::Tensor logits = at::zeros({count, classes}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i)
    logits[i][labels[static_cast<std::size_t>(i)]] = margin * static_cast<double>(i % 3);
  batch.tensors.set("logits", logits);
  batch.tensors.set("label", at::tensor(labels, at::kLong));
  batch.sample_ids = at::arange(count, at::kLong);
  batch.global_samples = count;
  return batch;
}

ValidationResult validate(const std::vector<Batch>& batches, metrics::ClassificationOptions options,
                          std::optional<double> loss = {}) {
  const auto validation = make_classification_validation(std::move(options));
  for (const auto& batch : batches) validation->add(batch, batch.tensors);
  auto self = comm::Communicator::self();
  return validation->finish(self, loss);
}

double metric(const ValidationResult& result, const std::string& name) {
  for (const auto& value : result.metrics)
    if (value.name == name) return value.value;
  return -1;
}

TEST(ClassificationValidationTest, TheLossIsThatOfTheObjective) {
  const auto result = validate({batch_of({0, 1, 0, 1}, 2)}, {.classes = {"a", "b"}}, 2.0);
  EXPECT_DOUBLE_EQ(*result.loss, 2);
  EXPECT_THAT(result.sections.at(0).paragraphs.at(0), HasSubstr("loss 2.00000"));
  EXPECT_THAT(result.text, HasSubstr("loss 2.0000"));
}

TEST(ClassificationValidationTest, TheSignalOfSeveralClassesIsQuoted) {
  const auto options = classification_options({"light", "c", "b"}, "b");
  EXPECT_THAT(options.signals, testing::ElementsAre(2));
  const Batch batch = batch_of({0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 1, 0}, 3, 0.4);
  const auto result = validate({batch}, options);
  const auto& rows = result.sections.at(0).table.rows;
  ASSERT_EQ(rows.size(), 3U) << "b against the rest, light and c";
  for (const auto& row : rows) EXPECT_EQ(row.at(0), "b");
  EXPECT_EQ(rows[0].at(1), "all others");
  metrics::ClassificationMetrics alone(options);
  alone.add_logits(batch["logits"], batch["label"]);
  const auto expected = alone.compute();
  EXPECT_EQ(metric(result, "valid_rejection_50"), expected.rejection(0.5).value);
  EXPECT_EQ(metric(result, "valid_auc"), expected.signals.at(0).auc);
  EXPECT_THAT(result.text, AllOf(HasSubstr("rest"), HasSubstr("light"), Not(HasSubstr("light       b"))));
}

TEST(ClassificationValidationTest, WithoutASignalEachOfSeveralClassesIsOne) {
  const auto options = classification_options({"light", "c", "b"}, "");
  EXPECT_TRUE(options.signals.empty());
  const auto result = validate({batch_of({0, 1, 2, 0, 1, 2}, 3)}, options);
  EXPECT_EQ(result.sections.at(0).table.rows.size(), 9U);
  EXPECT_EQ(metric(result, "valid_rejection_50"), -1);
}

TEST(ClassificationValidationTest, WhatNeedsAMissingClassIsLeftOutWithAWord) {
  const auto result = validate({batch_of({1, 1, 1, 1}, 2)}, {.classes = {"qcd", "top"}});
  EXPECT_FALSE(result.score.has_value());
  EXPECT_EQ(metric(result, "valid_auc"), -1);
  EXPECT_EQ(metric(result, "valid_rejection_50"), -1);
  EXPECT_THAT(result.text,
              AllOf(HasSubstr("none of them is 'qcd'"), HasSubstr("AUC -"), Not(HasSubstr("nan"))));
  for (const auto& section : result.sections)
    for (const auto& plot : section.plots) EXPECT_NE(plot.title, "ROC curve");
  EXPECT_TRUE(result.sections.at(0).table.rows.empty());

  const auto three = validate({batch_of({0, 1, 0, 1, 1, 0}, 3, 0.4)}, {.classes = {"a", "b", "c"}});
  EXPECT_THAT(three.text, AllOf(HasSubstr("none of them is 'c'"), Not(HasSubstr("nan"))));
  EXPECT_GT(*three.score, 0);
}

}  // namespace
}  // namespace bunchtrain::train
