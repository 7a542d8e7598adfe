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
#include "bunchtrain/metrics/regression.hpp"
#include "bunchtrain/metrics/result_sections.hpp"
#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/train/objectives.hpp"

namespace bunchtrain::train {

/// What one validation found. Whatever does not apply is left empty.
struct ValidationResult {
  std::optional<double> loss = {};
  std::vector<report::NamedValue> metrics = {};  ///< "valid_auc": printed every epoch, kept in metrics.jsonl
  std::optional<double> score = {};              ///< larger is better: decides which snapshot is the best
  std::string score_name = {};                   ///< what the score is, for the snapshots: "valid_auc"
  std::vector<report::Section> sections = {};    ///< kept in sections.json, shown in report.html
  std::string text = {};                         ///< printed at the end of the run
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

/// Accuracy, AUC, rejection, confusion and calibration of a classifier: "valid_accuracy", "valid_auc" (the
/// score), "valid_rejection_50". Each sample counts once, whatever its weight.
std::shared_ptr<Validation> make_classification_validation(metrics::ClassificationOptions options,
                                                           ClassificationTarget names = {});

/// Which numbers of a network are estimates of what.
struct RegressionValidationOptions {
  std::string output = {};  ///< [B] or [B, 1] of the network
  std::string target = {};  ///< [B] of the batch
  std::string width = {};   ///< of the network: its own error, for pulls; may be empty
  std::string unit = {};    ///< of the target, for axes: "GeV"
  metrics::RegressionOptions metrics = {};
  metrics::ResultOrigin origin = {};  ///< for texts
};

/// "valid_bias", "valid_resolution" (half the central 68 %; the smaller the better, which is the score),
/// "valid_deviation", "valid_absolute_error", "valid_squared_error" and, with widths, "valid_pull_mean" and
/// "valid_pull_width". `add` throws ConfigError naming an output or target that is missing.
std::shared_ptr<Validation> make_regression_validation(RegressionValidationOptions options);

/// The validation of one of several heads, by the head's name in the objective (`train::heads`).
struct HeadValidation {
  std::string name;
  std::shared_ptr<Validation> validation;
};

/// All of them: "valid_auc" of the head "flavour" is "valid_flavour_auc". The score is that of the first head
/// that has one. What `add` throws says which head it is.
/// @throws ConfigError for no heads, two of a name, or one without a validation.
std::shared_ptr<Validation> make_heads_validation(std::vector<HeadValidation> heads);

}  // namespace bunchtrain::train
