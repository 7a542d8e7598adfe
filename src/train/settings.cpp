// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

/// What a session was asked for. Who takes a value says what it is called in the record.
struct Asked {
  const TrainingChoices& choices;
  const config::Options& record;

  template <class T>
  const T& take(const char* name, const T& value) const {
    record.use(name);
    return value;
  }
  template <class T>
  T choose(const char* name, const Choice<T>& choice, const std::optional<T>& by_program) const {
    return by_program && !choice.by_user ? *by_program : take(name, choice.value);
  }
};

std::int64_t require_positive(std::string_view name, std::int64_t value) {
  if (value < 1) throw ConfigError(name, fmt::format("{}", value), "an integer of at least 1");
  return value;
}

std::int64_t require_bound(std::string_view name, std::int64_t value) {
  if (value < 0) throw ConfigError(name, fmt::format("{}", value), "a positive integer, or 0 for none");
  return value;
}

Settings resolve_length(const TrainerOptions& options, const Asked& asked) {
  const TrainingChoices& choices = asked.choices;
  Settings settings{};
  settings.epochs = require_positive("epochs", asked.choose("epochs", choices.epochs, options.epochs));
  settings.steps_per_epoch = require_bound(
      "steps-per-epoch", asked.choose("steps-per-epoch", choices.steps_per_epoch, options.steps_per_epoch));
  settings.max_steps =
      require_bound("max-steps", asked.choose("max-steps", choices.max_steps, options.max_steps));
  settings.max_samples =
      require_bound("max-samples", asked.choose("max-samples", choices.max_samples, options.max_samples));
  settings.batch = require_positive("batch", asked.choose("batch", choices.batch, options.batch));
  settings.reference_batch =
      asked.choose("reference-batch", choices.reference_batch, options.reference_batch);
  if (settings.reference_batch == 0) settings.reference_batch = settings.batch;
  require_positive("reference-batch", settings.reference_batch);
  settings.schedule = asked.choose("schedule", choices.schedule, options.schedule);
  if (settings.schedule != optim::ScheduleKind::one_cycle)
    settings.warmup_steps = asked.take("warmup-steps", choices.warmup_steps);
  return settings;
}

/// Validations, snapshots and what ends a run early.
void resolve_watching(Settings& settings, const TrainerOptions& options, const Asked& asked) {
  const TrainingChoices& choices = asked.choices;
  settings.early_stop = asked.take("early-stop", choices.early_stop);
  settings.validate_every = require_bound(
      "validate-every", asked.choose("validate-every", choices.validate_every, options.validate_every));
  settings.ema = asked.choose("ema", choices.ema, options.ema);
  if (!(settings.ema >= 0 && settings.ema < 1))
    throw ConfigError("ema", fmt::format("{}", settings.ema),
                      "0 (no averages) or a decay below 1, such as 0.999");
  settings.run_ahead = options.run_ahead;
  if (settings.run_ahead) require_bound("run_ahead", *settings.run_ahead);
  settings.checkpoint_every = asked.take("checkpoint-every", choices.checkpoint_every);
  settings.checkpoint_every.validate();
  settings.checkpoint_local = asked.take("checkpoint-local", choices.checkpoint_local);
  settings.stage = asked.take("stage", choices.stage);
  settings.stage_bytes = asked.take("stage-size", choices.stage_bytes);
  settings.keep_last =
      static_cast<int>(require_positive("keep-last", asked.take("keep-last", choices.keep_last)));
  settings.keep_best =
      static_cast<int>(require_bound("keep-best", asked.take("keep-best", choices.keep_best)));
  settings.keep_every = asked.take("keep-every", choices.keep_every);
  if (settings.keep_every.count() < 0)
    throw ConfigError("keep-every", fmt::format("{} s", settings.keep_every.count()),
                      "0 (none) or a duration");
  settings.patience = asked.take("patience", choices.patience);
  if (settings.patience < 0)
    throw ConfigError("patience", fmt::format("{}", settings.patience),
                      "0 (no early stopping) or more epochs");
  settings.decode = asked.take("decode", choices.decode);
  settings.check_replicas = asked.take("check-replicas", choices.check_replicas);
  if (settings.check_replicas < -1)
    throw ConfigError("check-replicas", fmt::format("{}", settings.check_replicas),
                      "a number of steps, 0 (at snapshots only) or -1 (never)");
}

/// What a `ManualStep` decides by itself.
void resolve_passes(Settings& settings, const TrainerOptions& options, const Asked& asked) {
  const TrainingChoices& choices = asked.choices;
  settings.weighted_validation = asked.take("valid-weights", choices.weighted_validation);
  settings.accumulate =
      require_positive("accumulate", asked.choose("accumulate", choices.accumulate, options.accumulate));
  settings.clip_norm = asked.choose("clip-norm", choices.clip_norm, options.clip_norm);
  if (!(settings.clip_norm >= 0))
    throw ConfigError("clip-norm", fmt::format("{}", settings.clip_norm),
                      "0 (no clipping) or a positive norm");
  settings.check_finite = asked.take("check-finite", choices.check_finite);
  settings.on_bad = asked.take("on-bad", choices.on_bad);
  settings.cuda_graph = asked.take("cuda-graph", choices.cuda_graph);
}

}  // namespace

Settings resolve_settings(const TrainerOptions& options, const TrainingChoices& choices,
                          const config::Options& record, Passes passes) {
  Settings settings = resolve_length(options, {choices, record});
  resolve_watching(settings, options, {choices, record});
  if (passes == Passes::of_trainer) resolve_passes(settings, options, {choices, record});
  return settings;
}

}  // namespace bunchtrain::train
