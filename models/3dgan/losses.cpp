// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/3dgan/losses.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::models {
namespace {

/// Keras' epsilon: the least magnitude that a target divides by.
constexpr double kLeastTarget = 1e-7;
constexpr double kPercent = 100;

/// As `Tensor::mean`, but 0 for an empty batch.
at::Tensor batch_mean(const at::Tensor& values) {
  return values.sum() / static_cast<double>(std::max<std::int64_t>(values.numel(), 1));
}

/// The target in the dtype and on the device of what it is compared with.
at::Tensor matched(const at::Tensor& target, const at::Tensor& value, std::string_view part) {
  if (!target.defined() || target.sizes() != value.sizes()) {
    throw ConfigError(fmt::format(
        "the discriminator judges the {} as [{}]; the target is {}", part, fmt::join(value.sizes(), ", "),
        target.defined() ? fmt::format("[{}]", fmt::join(target.sizes(), ", ")) : "missing"));
  }
  return target.to(value.options());
}

at::Tensor cross_entropy(const at::Tensor& logit, const at::Tensor& real) {
  return batch_mean(at::binary_cross_entropy_with_logits(logit, real, {}, {}, at::Reduction::None));
}

}  // namespace

ShowerLossWeights ShowerLossWeights::published(ShowerVariant variant) noexcept {
  if (variant == ShowerVariant::fixed_angle)
    return {.generation = 6, .energy = 0.2, .angle = 0, .sum = 0.1, .counts = 0.1};
  return {.generation = 3, .energy = 0.1, .angle = 25, .sum = 0.1, .counts = 0.1};
}

at::Tensor mean_absolute_percentage_error(const at::Tensor& value, const at::Tensor& target) {
  return kPercent * batch_mean((target - value).abs() / target.abs().clamp_min(kLeastTarget));
}

ShowerLosses shower_losses(const ShowerJudgement& judgement, const ShowerTargets& targets,
                           const ShowerLossWeights& weights) {
  const auto percentage = [](const at::Tensor& value, const at::Tensor& target, std::string_view part) {
    return mean_absolute_percentage_error(value, matched(target, value, part));
  };
  ShowerLosses losses;
  losses.generation = cross_entropy(judgement.logit, matched(targets.real, judgement.logit, "origin"));
  losses.energy = percentage(judgement.energy, targets.energy, "energy");
  losses.sum = percentage(judgement.sum, targets.sum, "energy sum");
  losses.total =
      weights.generation * losses.generation + weights.energy * losses.energy + weights.sum * losses.sum;
  if (judgement.angle.defined()) {
    losses.angle = batch_mean((judgement.angle - matched(targets.angle, judgement.angle, "angle")).abs());
    losses.total = losses.total + weights.angle * losses.angle;
  }
  if (judgement.counts.defined()) {
    losses.counts = percentage(judgement.counts, targets.counts, "cells per energy bin");
    losses.total = losses.total + weights.counts * losses.counts;
  }
  return losses;
}

}  // namespace bunchtrain::models
