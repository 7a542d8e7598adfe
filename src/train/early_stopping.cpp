// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/early_stopping.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"

namespace bunchtrain::train {
namespace {

template <class T>
bool read_number(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end;
}

report::NamedValue score_of(const ValidationResult& result, std::int64_t patience) {
  if (!result.score)
    throw ConfigError("patience", fmt::format("{}", patience),
                      "0 with this validation: it gives no score that could become better");
  return {result.score_name, *result.score};
}

/// Of which smaller is better without a word.
bool is_loss(std::string_view metric) { return metric.find("loss") != std::string_view::npos; }

/// @param name with or without "valid_"
report::NamedValue metric_of(const ValidationResult& result, const std::string& name) {
  const std::vector<report::NamedValue> known = values_of(result);
  for (const auto& value : known)
    if (value.name == name || value.name == "valid_" + name) return value;
  std::vector<std::string> names;
  for (const auto& value : known) names.push_back(value.name);
  const std::string meant = nearest(name, names);
  throw ConfigError("early-stop", name,
                    fmt::format("what the validation finds: {}{}", fmt::join(names, ", "),
                                meant.empty() ? "" : fmt::format("; did you mean {}?", meant)));
}

}  // namespace

void EarlyStoppingOptions::validate() const {
  if (patience < 1) throw ConfigError("patience", fmt::format("{}", patience), "an integer of at least 1");
  if (!(min_delta >= 0))
    throw ConfigError("min_delta", fmt::format("{}", min_delta), "0 or a positive number");
}

EarlyStoppingOptions parse_early_stopping(std::string_view text) {
  const auto refuse = [&] {
    return ConfigError("early-stop", text, "METRIC:PATIENCE or METRIC:PATIENCE:MIN_DELTA, such as auc:5");
  };
  std::vector<std::string> parts;
  std::istringstream stream{std::string(text)};
  for (std::string part; std::getline(stream, part, ':');) parts.push_back(part);
  if (parts.size() < 2 || parts.size() > 3 || text.ends_with(':')) throw refuse();
  EarlyStoppingOptions options{.metric = parts[0]};
  if (options.metric.starts_with('-')) {
    options.metric.erase(0, 1);
    options.smaller_is_better = true;
  } else {
    options.smaller_is_better = is_loss(options.metric);
  }
  if (options.metric.empty() || !read_number(parts[1], options.patience) || options.patience < 1)
    throw refuse();
  if (parts.size() == 3 && (!read_number(parts[2], options.min_delta) || !(options.min_delta >= 0)))
    throw refuse();
  return options;
}

std::string to_string(const EarlyStoppingOptions& options) {
  const bool minus = options.smaller_is_better && !is_loss(options.metric);
  return fmt::format("{}{}:{}{}", minus ? "-" : "", options.metric, options.patience,
                     options.min_delta > 0 ? fmt::format(":{}", options.min_delta) : "");
}

EarlyStopping::EarlyStopping(EarlyStoppingOptions options) : options_(std::move(options)) {
  options_.validate();
  if (!options_.metric.empty()) score_name_ = options_.metric;
}

std::string EarlyStopping::name() const {
  return options_.metric.empty() ? "early-stopping" : "early-stopping-" + options_.metric;
}

void EarlyStopping::on_validation(const ValidationResult& result) {
  const report::NamedValue value =
      options_.metric.empty() ? score_of(result, options_.patience) : metric_of(result, options_.metric);
  if (!value.name.empty()) score_name_ = value.name;
  const double sign = options_.smaller_is_better ? -1 : 1;
  const bool better = !best_ || sign * value.value > sign * *best_ + options_.min_delta;
  if (std::isfinite(value.value) && better) {
    best_ = value.value;
    validations_without_ = 0;
  } else {
    ++validations_without_;
  }
}

Verdict EarlyStopping::verdict() const {
  if (validations_without_ < options_.patience) return {};
  return {.finish = fmt::format("{} {}{} without a better {} (best {})", validations_without_, options_.unit,
                                validations_without_ == 1 ? "" : "s", score_name_,
                                best_ ? fmt::format("{:.6g}", *best_) : "unknown")};
}

std::string EarlyStopping::state() const {
  return fmt::format("{} {} {}", validations_without_, best_ ? fmt::format("{}", *best_) : "none",
                     score_name_);
}

void EarlyStopping::load(const std::string& state) {
  std::istringstream text(state);
  std::string best;
  text >> validations_without_ >> best;
  char* end = best.data();
  const double score = std::strtod(best.c_str(), &end);
  if (!text || (best != "none" && *end != '\0'))
    throw CheckpointError("the state of early stopping cannot be read: " + state);
  if (best != "none") best_ = score;
  std::getline(text >> std::ws, score_name_);
}

}  // namespace bunchtrain::train
