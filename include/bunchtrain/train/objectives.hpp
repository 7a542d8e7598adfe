// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Objectives: what networks are trained for, by the names of their outputs and of the batch's tensors.

#include <string>
#include <vector>

#include "bunchtrain/nn/objective.hpp"

namespace bunchtrain::train {

/// Names for a classifier's objective.
struct ClassificationTarget {
  std::string output = "logits";  ///< [B, C] of the network, before the softmax
  std::string label = "label";    ///< [B] int64 of the batch
  std::string weight = "weight";  ///< [B] of the batch, weights of mean 1; none of that name: all count 1
  /// Elements: output, label and weight have a row for each of them, [E, C] and [E].
  nn::MeanOver mean_over = nn::MeanOver::samples;
};

/// Cross-entropy, mean over the batch's samples or elements, in float32 (float64 stays).
/// An empty batch gives 0 with a graph.
///
/// The objective throws ConfigError if the network has no such output, if its shape does not fit, or if the
/// batch has no such label; it names the entry of the data card that is missing.
nn::Objective classification(ClassificationTarget target = {});

/// How far an estimate is from its target: squared, quadratic up to 1 and linear beyond, absolute, or as the
/// likelihood of a Gaussian whose width the network gives.
enum class RegressionLoss { mse, huber, l1, gaussian };

/// Names for the objective of one real number per sample.
struct RegressionTarget {
  std::string output = {};  ///< [B] or [B, 1] of the network
  std::string target = {};  ///< [B] of the batch
  std::string width = {};   ///< [B] or [B, 1] of the network, positive: its own error; `gaussian` alone
  RegressionLoss loss = RegressionLoss::mse;
  double scale = 1;  ///< the loss is of (output - target) / scale, and of width / scale: their usual size
  std::string weight = "weight";                   ///< as of `ClassificationTarget`
  nn::MeanOver mean_over = nn::MeanOver::samples;  ///< likewise
};

/// Mean loss over the batch's samples or elements, in float32 (float64 stays). An empty batch gives 0 with a graph.
/// @throws ConfigError for names that are empty, a scale that is not above 0, or a width where the loss uses
/// none. The objective throws as that of `classification` does.
nn::Objective regression(RegressionTarget target);

/// One of several losses of a network.
struct Head {
  std::string name;
  nn::Objective objective;
  double weight = 1;  ///< of its loss in the sum
};

/// The weighted sum of the heads' losses; `Losses::terms` has each head's own, not weighted, by its name. What
/// a head throws says which head it is.
/// @throws ConfigError for no heads, two of a name, a weight that is not finite or negative, or means of which
/// some are over samples and some over elements.
nn::Objective heads(std::vector<Head> heads);

}  // namespace bunchtrain::train
