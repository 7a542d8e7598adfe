// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/step.hpp"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

Batch batch_with(at::Tensor labels) {
  Batch batch;
  batch.tensors.set("label", std::move(labels));
  return batch;
}

TEST(ClassifyTest, IsTheMeanCrossEntropy) {
  const at::Tensor logits = at::randn({5, 3}, at::kDouble);
  const at::Tensor labels = at::tensor({0, 2, 1, 1, 0}, at::kLong);
  const StepResult result = classify(logits, batch_with(labels));
  EXPECT_NEAR(result.loss.item<double>(), at::cross_entropy_loss(logits, labels).item<double>(), 1e-12);
  EXPECT_EQ(result.samples, 5);
  EXPECT_TRUE(result.outputs.equal(logits));
}

TEST(ClassifyTest, WeightsScaleTheirSamples) {
  const at::Tensor logits = at::randn({2, 2}, at::kDouble);
  Batch batch = batch_with(at::tensor({0, 1}, at::kLong));
  batch.tensors.set("weight", at::tensor({2.0, 0.0}, at::kDouble));
  const double first =
      classify(logits.slice(0, 0, 1), batch_with(at::tensor({0}, at::kLong))).loss.item<double>();
  EXPECT_NEAR(classify(logits, batch).loss.item<double>(), first, 1e-12);
}

TEST(ClassifyTest, AnEmptyShareHasLossZeroWithAGraph) {
  const at::Tensor logits = at::empty({0, 2}, at::kFloat).requires_grad_();
  const StepResult result = classify(logits, batch_with(at::empty({0}, at::kLong)));
  EXPECT_EQ(result.loss.item<double>(), 0);
  EXPECT_TRUE(result.loss.requires_grad());
  EXPECT_EQ(result.samples, 0);
}

TEST(ClassifyTest, StaysInFloat32UnderReducedPrecision) {
  const at::Tensor logits = at::randn({4, 2}).to(at::kBFloat16);
  EXPECT_EQ(classify(logits, batch_with(at::tensor({0, 1, 0, 1}, at::kLong))).loss.scalar_type(), at::kFloat);
}

TEST(ClassifyTest, RefusesLogitsThatDoNotFitTheLabels) {
  EXPECT_THROW(classify(at::randn({3, 2}), batch_with(at::tensor({0, 1}, at::kLong))), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
