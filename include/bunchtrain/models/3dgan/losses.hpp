// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The losses of 3DGAN's networks.

#include <ATen/core/Tensor.h>

#include <vector>

#include "bunchtrain/models/3dgan/discriminator.hpp"

namespace bunchtrain::models {

/// What a discriminator should say of each shower; as `ShowerJudgement`.
struct ShowerTargets {
  at::Tensor real = {};    ///< [B] 1 or 0, label flips applied
  at::Tensor energy = {};  ///< [B] primary energy / 100 GeV
  at::Tensor angle = {};   ///< [B] rad, undefined for fixed angle
  at::Tensor sum = {};     ///< [B] in the image's unit
  at::Tensor counts = {};  ///< [B, 8], empty bins already set to 1; undefined without bin counts
};

/// Weights of the terms in the sum. Published: 6, 0.2, 0.1 (fixed angle); 3, 0.1, 25, 0.1 and 0.1 for the
/// counts (variable angle).
struct ShowerLossWeights {
  double generation = 6;
  double energy = 0.2;
  double angle = 25;
  double sum = 0.1;
  double counts = 0.1;

  static ShowerLossWeights published(ShowerVariant variant) noexcept;
};

/// Means over the batch, scalars with a graph; undefined where the judgement has no such part.
struct ShowerLosses {
  at::Tensor total = {};       ///< weighted sum
  at::Tensor generation = {};  ///< binary cross-entropy of the logit
  at::Tensor energy = {};      ///< mean absolute percentage error
  at::Tensor angle = {};       ///< mean absolute error, rad
  at::Tensor sum = {};         ///< mean absolute percentage error: 100 means that the showers are empty
  at::Tensor counts = {};      ///< mean absolute percentage error
};

/// An empty batch gives zeros with a graph.
ShowerLosses shower_losses(const ShowerJudgement& judgement, const ShowerTargets& targets,
                           const ShowerLossWeights& weights);

/// Keras' mean_absolute_percentage_error: 100 mean(|target - value| / max(|target|, 1e-7)).
at::Tensor mean_absolute_percentage_error(const at::Tensor& value, const at::Tensor& target);

}  // namespace bunchtrain::models
