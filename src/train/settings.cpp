// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <fmt/format.h>

#include <charconv>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

template <class T>
T choose(const config::Options& given, std::string_view name, const std::optional<T>& by_program) {
  return by_program && !given.given(name) ? *by_program : given.get<T>(name);
}

std::int64_t require_positive(std::string_view name, std::int64_t value) {
  if (value < 1) throw ConfigError(name, fmt::format("{}", value), "an integer of at least 1");
  return value;
}

std::int64_t require_bound(std::string_view name, std::int64_t value) {
  if (value < 0) throw ConfigError(name, fmt::format("{}", value), "a positive integer, or 0 for none");
  return value;
}

}  // namespace

CheckpointInterval parse_checkpoint_interval(const std::string& text) {
  if (text.empty()) return {};
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string unit(rest, end);
  std::erase(unit, ' ');
  if (error == std::errc() && number > 0) {
    if (unit.empty() || unit == "step" || unit == "steps") return {.steps = number};
    if (unit == "min" || unit == "m" || unit == "minutes") return {.time = std::chrono::minutes(number)};
    if (unit == "s") return {.time = std::chrono::seconds(number)};
  }
  throw ConfigError("checkpoint-every", text, "a number of steps (500) or of minutes (10min)");
}

Settings resolve_settings(const TrainerOptions& options, const config::Options& given, Passes passes) {
  Settings settings{};
  settings.epochs = require_positive("epochs", choose(given, "epochs", options.epochs));
  settings.steps_per_epoch =
      require_bound("steps-per-epoch", choose(given, "steps-per-epoch", options.steps_per_epoch));
  settings.max_steps = require_bound("max-steps", choose(given, "max-steps", options.max_steps));
  settings.max_samples = require_bound("max-samples", choose(given, "max-samples", options.max_samples));
  settings.batch = require_positive("batch", choose(given, "batch", options.batch));
  settings.reference_batch = choose(given, "reference-batch", options.reference_batch);
  if (settings.reference_batch == 0) settings.reference_batch = settings.batch;
  require_positive("reference-batch", settings.reference_batch);
  const bool program_decides = options.schedule && !given.given("schedule");
  settings.schedule =
      program_decides ? *options.schedule : optim::parse_schedule(given.get<std::string>("schedule"));
  if (settings.schedule != optim::ScheduleKind::one_cycle)
    settings.warmup_steps = given.get<std::int64_t>("warmup-steps");
  if (const auto text = given.get<std::string>("early-stop"); !text.empty())
    settings.early_stop = parse_early_stopping(text);
  settings.validate_every =
      require_bound("validate-every", choose(given, "validate-every", options.validate_every));
  settings.ema = choose(given, "ema", options.ema);
  if (!(settings.ema >= 0 && settings.ema < 1))
    throw ConfigError("ema", fmt::format("{}", settings.ema),
                      "0 (no averages) or a decay below 1, such as 0.999");
  settings.check_finite = CheckFinite::stop;
  settings.accumulate = 1;
  settings.weighted_validation = true;
  if (passes == Passes::of_trainer) {
    settings.weighted_validation = given.get<std::string>("valid-weights") == "card";
    settings.accumulate = require_positive("accumulate", choose(given, "accumulate", options.accumulate));
    settings.clip_norm = choose(given, "clip-norm", options.clip_norm);
    if (given.get<std::string>("check-finite") == "skip") settings.check_finite = CheckFinite::skip;
  }
  settings.run_ahead = options.run_ahead;
  if (settings.run_ahead) require_bound("run_ahead", *settings.run_ahead);
  if (!(settings.clip_norm >= 0))
    throw ConfigError("clip-norm", fmt::format("{}", settings.clip_norm),
                      "0 (no clipping) or a positive norm");
  settings.checkpoint_every = parse_checkpoint_interval(given.get<std::string>("checkpoint-every"));
  settings.keep_last = static_cast<int>(require_positive("keep-last", given.get<std::int64_t>("keep-last")));
  settings.patience = given.get<std::int64_t>("patience");
  if (settings.patience < 0)
    throw ConfigError("patience", fmt::format("{}", settings.patience),
                      "0 (no early stopping) or more epochs");
  settings.check_replicas = given.get<std::int64_t>("check-replicas");
  if (settings.check_replicas < -1)
    throw ConfigError("check-replicas", fmt::format("{}", settings.check_replicas),
                      "a number of steps, 0 (at snapshots only) or -1 (never)");
  return settings;
}

}  // namespace bunchtrain::train
