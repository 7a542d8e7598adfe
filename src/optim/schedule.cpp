// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "bunchtrain/core/error.hpp"
#include "option_checks.hpp"

namespace bunchtrain::optim {

namespace {

struct ScheduleName {
  ScheduleKind kind;
  std::string_view name;
};
constexpr ScheduleName kNames[] = {{ScheduleKind::constant, "constant"},
                                   {ScheduleKind::step, "step"},
                                   {ScheduleKind::cosine, "cosine"},
                                   {ScheduleKind::one_cycle, "one-cycle"},
                                   {ScheduleKind::flat_then_decay, "flat-then-decay"}};

/// From `start` (fraction 0) to `end` (fraction 1) along half a cosine.
double anneal(double start, double end, double fraction) {
  return end + (start - end) / 2 * (1 + std::cos(std::numbers::pi * fraction));
}

double cosine(const ScheduleOptions& options, std::int64_t step) {
  const auto length =
      static_cast<double>(std::max<std::int64_t>(1, options.total_steps - options.warmup_steps));
  const double fraction = std::clamp(static_cast<double>(step - options.warmup_steps) / length, 0.0, 1.0);
  return anneal(options.learning_rate, options.learning_rate / options.final_divisor, fraction);
}

// PyTorch counts the steps from 0 to total_steps - 1 and lets the peak fall between two of them.
double one_cycle(const ScheduleOptions& options, std::int64_t step) {
  const double start = options.learning_rate / options.start_divisor;
  const double last = static_cast<double>(options.total_steps - 1);
  const double peak = options.warmup_fraction * static_cast<double>(options.total_steps) - 1;
  const double now = std::min(static_cast<double>(step), last);
  if (now <= peak) return anneal(start, options.learning_rate, peak > 0 ? now / peak : 1);
  return anneal(options.learning_rate, start / options.final_divisor, (now - peak) / (last - peak));
}

// weaver's "flat+decay": constant, then the same factor after every epoch, `final_factor` in the end.
double flat_then_decay(const ScheduleOptions& options, std::int64_t step) {
  const std::int64_t epochs = std::max<std::int64_t>(1, options.total_steps / options.steps_per_epoch);
  const auto decaying = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(
             std::floor((1 - options.flat_fraction) * static_cast<double>(epochs) + 1e-9)));
  const std::int64_t flat = epochs - decaying;
  const std::int64_t epoch = std::min(step / options.steps_per_epoch, epochs);
  const double exponent =
      static_cast<double>(std::max<std::int64_t>(0, epoch - flat + 1)) / static_cast<double>(decaying);
  return options.learning_rate * std::pow(options.final_factor, exponent);
}

double without_warmup(const ScheduleOptions& options, std::int64_t step) {
  switch (options.kind) {
    case ScheduleKind::constant:
      return options.learning_rate;
    case ScheduleKind::step: {
      const std::int64_t drops = step / options.steps_per_epoch / options.step_epochs;
      return options.learning_rate * std::pow(options.step_factor, static_cast<double>(drops));
    }
    case ScheduleKind::cosine:
      return cosine(options, step);
    case ScheduleKind::one_cycle:
      return one_cycle(options, step);
    case ScheduleKind::flat_then_decay:
      return flat_then_decay(options, step);
  }
  return options.learning_rate;
}

}  // namespace

void ScheduleOptions::validate() const {
  require_not_negative("learning_rate", learning_rate);
  require_positive("total_steps", static_cast<double>(total_steps));
  require_positive("steps_per_epoch", static_cast<double>(steps_per_epoch));
  require_positive("step_epochs", static_cast<double>(step_epochs));
  require_not_negative("warmup_steps", static_cast<double>(warmup_steps));
  require_positive("start_divisor", start_divisor);
  require_positive("final_divisor", final_divisor);
  require_positive("final_factor", final_factor);
  require_positive("step_factor", step_factor);
  require_fraction("warmup_fraction", warmup_fraction);
  if (!(flat_fraction >= 0 && flat_fraction <= 1)) {
    throw ConfigError("flat_fraction", std::to_string(flat_fraction), "0 <= value <= 1");
  }
  expects(kind != ScheduleKind::one_cycle || warmup_steps == 0,
          "warmup_steps with schedule one-cycle: its own rise is warmup_fraction");
  expects(warmup_steps < total_steps || warmup_steps == 0, "warmup_steps must be fewer than total_steps");
}

double learning_rate_at(const ScheduleOptions& options, std::int64_t step) {
  const double rate = without_warmup(options, step);
  if (step >= options.warmup_steps) return rate;
  return rate * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps + 1);
}

ScheduleKind parse_schedule(std::string_view text) {
  std::string allowed;
  for (const auto& entry : kNames) {
    if (entry.name == text) return entry.kind;
    allowed.append(allowed.empty() ? "" : ", ").append(entry.name);
  }
  throw ConfigError("schedule", text, allowed);
}

std::string_view to_string(ScheduleKind kind) noexcept {
  for (const auto& entry : kNames) {
    if (entry.kind == kind) return entry.name;
  }
  return "unknown";
}

}  // namespace bunchtrain::optim
