// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Finishes a run whose validation does not get better any more.

#include <cstdint>
#include <optional>
#include <string>

#include "bunchtrain/train/callback.hpp"

namespace bunchtrain::train {

struct EarlyStoppingOptions {
  std::int64_t patience = 5;  ///< epochs without a better score after which the run is finished
  double min_delta = 0;       ///< a score counts as better if it is greater by more than this

  void validate() const;
};

/// Watches the score that also chooses the best snapshot (`ValidationResult::score`). What `--patience` adds
/// to a run. Its count is kept in the snapshots: a resumed run finishes where an undisturbed one does.
class EarlyStopping final : public Callback {
 public:
  explicit EarlyStopping(EarlyStoppingOptions options);

  /// @throws ConfigError if the validation gives no score.
  void on_validation(const ValidationResult& result) override;
  std::string reason_to_finish() const override;
  std::string name() const override { return "early-stopping"; }
  std::string state() const override;
  void load(const std::string& state) override;

 private:
  EarlyStoppingOptions options_;
  std::optional<double> best_ = {};
  std::int64_t epochs_without_ = 0;
  std::string score_name_ = "score";
};

}  // namespace bunchtrain::train
