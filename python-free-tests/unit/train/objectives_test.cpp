// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/objectives.hpp"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

TEST(CrossEntropyTest, IsTheMeanCrossEntropy) {
  const at::Tensor logits = at::randn({5, 3}, at::kDouble);
  const at::Tensor labels = at::tensor({0, 2, 1, 1, 0}, at::kLong);
  EXPECT_NEAR(cross_entropy(logits, labels).item<double>(),
              at::cross_entropy_loss(logits, labels).item<double>(), 1e-12);
}

TEST(CrossEntropyTest, WeightsScaleTheirSamples) {
  const at::Tensor logits = at::randn({2, 2}, at::kDouble);
  Batch batch;
  batch.tensors = {{"label", at::tensor({0, 1}, at::kLong)}, {"weight", at::tensor({2.0, 0.0}, at::kDouble)}};
  const double first = cross_entropy(logits.slice(0, 0, 1), at::tensor({0}, at::kLong)).item<double>();
  EXPECT_NEAR(classification()({{"logits", logits}}, batch).total.item<double>(), first, 1e-12);
}

TEST(CrossEntropyTest, AnEmptyShareHasLossZeroWithAGraph) {
  const at::Tensor logits = at::empty({0, 2}, at::kFloat).requires_grad_();
  const at::Tensor loss = cross_entropy(logits, at::empty({0}, at::kLong));
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_TRUE(loss.requires_grad());
}

TEST(CrossEntropyTest, StaysInFloat32UnderReducedPrecision) {
  const at::Tensor logits = at::randn({4, 2}).to(at::kBFloat16);
  EXPECT_EQ(cross_entropy(logits, at::tensor({0, 1, 0, 1}, at::kLong)).scalar_type(), at::kFloat);
}

TEST(CrossEntropyTest, RefusesLogitsThatDoNotFitTheLabels) {
  EXPECT_THROW(cross_entropy(at::randn({3, 2}), at::tensor({0, 1}, at::kLong)), ConfigError);
}

TEST(ClassificationTest, OutputsAndLabelsHaveNames) {
  const at::Tensor logits = at::randn({2, 3}, at::kDouble);
  Batch batch;
  batch.tensors = {{"flavour", at::tensor({0, 2}, at::kLong)}};
  const auto objective = classification({.output = "flavour_logits", .label = "flavour"});
  EXPECT_EQ(objective({{"flavour_logits", logits}}, batch).total.item<double>(),
            cross_entropy(logits, batch["flavour"]).item<double>());
  EXPECT_THROW(objective({{"logits", logits}}, batch), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
