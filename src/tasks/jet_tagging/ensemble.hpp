// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks whose probabilities are averaged. One network is an ensemble of one.

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "trained_network.hpp"

namespace bunchtrain::jet_tagging {

/// @throws ConfigError for a network that was named twice, and for one of other classes, another order of them,
/// another card or other inputs than the first: it names what differs. What a card says of the training alone
/// (weights, the part that is kept) may differ.
void require_alike(std::span<const TrainedNetwork> networks);

/// The networks on the batches of this rank. Not thread-safe.
class Ensemble {
 public:
  Ensemble(std::vector<TrainedNetwork> networks, const metrics::ClassificationOptions& options);

  bool is_one() const noexcept { return networks_.size() == 1; }
  const TrainedNetwork& first() const noexcept { return networks_.front(); }
  struct Scored {
    at::Tensor probabilities;  ///< [B, C] float64 on the CPU: the mean of the softmax of the networks' logits
    NamedTensors estimates;    ///< `estimate_outputs`, of several networks their means
  };
  /// Counts the probabilities for `compute`. @throws ConfigError for a network that gives no logits
  Scored score(const Batch& batch);
  /// Collective. Of the mean scores.
  metrics::ClassificationResult compute(comm::Communicator& ranks) const { return mean_.compute(ranks); }
  /// Collective. The networks' own AUC and accuracy beside those of their mean; nothing for one network.
  std::vector<report::Section> members_section(const metrics::ClassificationResult& mean,
                                               comm::Communicator& ranks) const;
  /// Hashes of their weights, commas between them.
  std::string hashes() const;
  /// "runs/first/checkpoints/step-000042 (epoch 3, step 42)", or all of them.
  std::string describe() const;

 private:
  std::vector<TrainedNetwork> networks_;
  metrics::ClassificationMetrics mean_;
  std::vector<metrics::ClassificationMetrics> own_;  ///< of several networks
};

}  // namespace bunchtrain::jet_tagging
