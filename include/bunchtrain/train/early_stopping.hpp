// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Finishes a run whose validation does not get better any more.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bunchtrain/train/callback.hpp"

namespace bunchtrain::train {

struct EarlyStoppingOptions {
  std::int64_t patience = 5;  ///< validations without a better value after which the run is finished
  double min_delta = 0;       ///< a value counts as better if it is so by more than this
  /// "valid_auc", or short "auc": one of the validation's metrics, or its loss; empty: the score that also
  /// chooses the best snapshot (`ValidationResult::score`).
  std::string metric = {};
  bool smaller_is_better = false;
  std::string unit = "epoch";  ///< what there is one validation per, for the reason

  void validate() const;
};

/// "METRIC:PATIENCE[:MIN_DELTA]". Smaller is better of a loss, and of a metric with a minus in front of its name:
/// "auc:5", "loss:3:1e-4", "-valid_resolution:10". @throws ConfigError
EarlyStoppingOptions parse_early_stopping(std::string_view text);

/// As `parse_early_stopping` reads it.
std::string to_string(const EarlyStoppingOptions& options);

/// Watches a value of the validation. What `--patience` (the score) and `--early-stop` add to a run. Its count is
/// kept in the snapshots: a resumed run finishes where an undisturbed one does.
class EarlyStopping final : public Callback {
 public:
  explicit EarlyStopping(EarlyStoppingOptions options);

  /// @throws ConfigError if the validation gives no score, or no metric of that name.
  void on_validation(const ValidationResult& result) override;
  Verdict verdict() const override;
  std::string name() const override;
  std::string state() const override;
  void load(const std::string& state) override;

 private:
  EarlyStoppingOptions options_;
  std::optional<double> best_ = {};
  std::int64_t validations_without_ = 0;
  std::string score_name_ = "score";
};

}  // namespace bunchtrain::train
