// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/early_stopping.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

void EarlyStoppingOptions::validate() const {
  if (patience < 1) throw ConfigError("patience", fmt::format("{}", patience), "an integer of at least 1");
  if (!(min_delta >= 0))
    throw ConfigError("min_delta", fmt::format("{}", min_delta), "0 or a positive number");
}

EarlyStopping::EarlyStopping(EarlyStoppingOptions options) : options_(options) { options_.validate(); }

void EarlyStopping::on_validation(const ValidationResult& result) {
  if (!result.score)
    throw ConfigError("patience", fmt::format("{}", options_.patience),
                      "0 with this validation: it gives no score that could become better");
  if (!result.score_name.empty()) score_name_ = result.score_name;
  const double score = *result.score;
  if (std::isfinite(score) && (!best_ || score > *best_ + options_.min_delta)) {
    best_ = score;
    epochs_without_ = 0;
  } else {
    ++epochs_without_;
  }
}

std::string EarlyStopping::reason_to_finish() const {
  if (epochs_without_ < options_.patience) return {};
  return fmt::format("{} epoch{} without a better {} (best {})", epochs_without_,
                     epochs_without_ == 1 ? "" : "s", score_name_,
                     best_ ? fmt::format("{:.6g}", *best_) : "unknown");
}

std::string EarlyStopping::state() const {
  return fmt::format("{} {} {}", epochs_without_, best_ ? fmt::format("{}", *best_) : "none", score_name_);
}

void EarlyStopping::load(const std::string& state) {
  std::istringstream text(state);
  std::string best;
  text >> epochs_without_ >> best;
  char* end = best.data();
  const double score = std::strtod(best.c_str(), &end);
  if (!text || (best != "none" && *end != '\0'))
    throw CheckpointError("the state of early stopping cannot be read: " + state);
  if (best != "none") best_ = score;
  std::getline(text >> std::ws, score_name_);
}

}  // namespace bunchtrain::train
