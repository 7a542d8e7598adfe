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
#include "bunchtrain/tensor/named_tensors.hpp"

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

/// Its loss, as "valid_loss", and its metrics.
std::vector<report::NamedValue> values_of(const ValidationResult& result);

/// Judges networks on validation data. Every rank has one and sees its own share. Not thread-safe.
class Validation {
 public:
  virtual ~Validation() = default;
  /// One batch, never empty, and what the network made of it ("logits"); nothing of the networks of a
  /// `ManualStep`. Networks are in evaluation mode, gradients off, the session's precision on.
  virtual void add(const Batch& batch, const NamedTensors& outputs) = 0;
  /// Collective. The result over all that all ranks added since the last call. `loss`: of the objective, over
  /// all samples; none of a `ManualStep`.
  virtual ValidationResult finish(comm::Communicator& ranks, std::optional<double> loss) = 0;
  /// Forgets what was added since the last `finish`: the pass was broken off by a stop request or a fault.
  virtual void discard() {}
};

/// Accuracy, AUC and rejection of a classifier by its "logits". Each sample counts once, whatever its weight.
std::shared_ptr<Validation> make_classification_validation(metrics::ClassificationOptions options);

}  // namespace bunchtrain::train
