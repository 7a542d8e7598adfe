// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How networks are judged at the end of every epoch.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/train/step.hpp"

namespace bunchtrain::train {

/// What one validation found. Whatever does not apply is left empty.
struct ValidationResult {
  std::optional<double> loss = {};
  std::vector<report::NamedValue> metrics = {};  ///< "valid_auc": printed every epoch, kept in metrics.jsonl
  std::optional<double> score = {};              ///< larger is better: decides which snapshot is the best
  std::string score_name = {};                   ///< what the score is, for the snapshots: "valid_auc"
  std::optional<metrics::ClassificationResult> classification = {};
  std::vector<report::Section> sections = {};  ///< shown in report.html
  std::string text = {};                       ///< printed at the end of the run
};

/// Judges networks on validation data. Every rank has one and sees its own share. Not thread-safe.
class Validation {
 public:
  virtual ~Validation() = default;
  /// One batch, never empty. Networks are in evaluation mode, gradients off, the session's precision on.
  virtual void add(const Batch& batch) = 0;
  /// Collective. The result over all that all ranks added since the last call.
  virtual ValidationResult finish(comm::Communicator& ranks) = 0;
  /// Forgets what was added since the last `finish`: the pass was broken off by a stop request or a fault.
  virtual void discard() {}
};

/// Whether the loss of a validation is weighted as that of training (`--valid-weights`).
enum class ValidationWeights { card, none };

/// Accuracy, AUC, rejection and loss of a classifier. `step` gives logits as `outputs`; the loss is the
/// step's own, mean over all samples, so that it is the same quantity as in training. Everything else counts
/// each sample once, whatever its weight.
std::shared_ptr<Validation> make_classification_validation(
    Step step, metrics::ClassificationOptions options, ValidationWeights weights = ValidationWeights::card);

}  // namespace bunchtrain::train
