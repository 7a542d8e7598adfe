// SPDX-License-Identifier: Apache-2.0
#include "session_record.hpp"

#include <string>
#include <vector>

namespace bunchtrain::train {
namespace {

using config::OptionScope;
using config::OptionValue;

/// Where a field of the structs stands in the record.
struct Field {
  const char* name;
  OptionScope scope;
  OptionValue (*value)(const SessionOptions& asked);
};

std::string text_of(const std::optional<device::Precision>& precision) {
  return precision ? std::string(device::to_string(*precision)) : "auto";
}

std::vector<std::string> texts_of(const std::vector<optim::ParameterGroup>& groups) {
  std::vector<std::string> texts;
  for (const auto& group : groups) texts.push_back(optim::to_string(group));
  return texts;
}

using Of = const SessionOptions&;
using Value = OptionValue;

constexpr Field kTraining[] = {
    {"valid-weights", OptionScope::training,
     [](Of of) -> Value { return std::string(of.training.weighted_validation ? "card" : "none"); }},
    {"epochs", OptionScope::training, [](Of of) -> Value { return of.training.epochs.value; }},
    {"steps-per-epoch", OptionScope::training,
     [](Of of) -> Value { return of.training.steps_per_epoch.value; }},
    {"max-steps", OptionScope::training, [](Of of) -> Value { return of.training.max_steps.value; }},
    {"max-samples", OptionScope::training, [](Of of) -> Value { return of.training.max_samples.value; }},
    {"patience", OptionScope::training, [](Of of) -> Value { return of.training.patience; }},
    {"early-stop", OptionScope::training,
     [](Of of) -> Value {
       return of.training.early_stop ? to_string(*of.training.early_stop) : std::string();
     }},
    {"validate-every", OptionScope::training,
     [](Of of) -> Value { return of.training.validate_every.value; }},
    {"batch", OptionScope::training, [](Of of) -> Value { return of.training.batch.value; }},
    {"reference-batch", OptionScope::training,
     [](Of of) -> Value { return of.training.reference_batch.value; }},
    {"learning-rate", OptionScope::training, [](Of of) -> Value { return of.training.learning_rate.value; }},
    {"weight-decay", OptionScope::training, [](Of of) -> Value { return of.training.weight_decay; }},
    {"optimizer", OptionScope::training, [](Of of) -> Value { return of.training.optimizer; }},
    {"group", OptionScope::training, [](Of of) -> Value { return texts_of(of.training.groups); }},
    {"schedule", OptionScope::training,
     [](Of of) -> Value { return std::string(optim::to_string(of.training.schedule.value)); }},
    {"warmup-steps", OptionScope::training, [](Of of) -> Value { return of.training.warmup_steps; }},
    {"clip-norm", OptionScope::training, [](Of of) -> Value { return of.training.clip_norm.value; }},
    {"check-finite", OptionScope::training,
     [](Of of) -> Value { return std::string(to_string(of.training.check_finite)); }},
    {"ema", OptionScope::training, [](Of of) -> Value { return of.training.ema.value; }},
    {"accumulate", OptionScope::training, [](Of of) -> Value { return of.training.accumulate.value; }},
    {"sync-batch-norm", OptionScope::training, [](Of of) -> Value { return of.training.sync_batch_norm; }},
    {"precision", OptionScope::training, [](Of of) -> Value { return text_of(of.precision); }},
    {"kernels", OptionScope::training,
     [](Of of) -> Value { return std::string(ops::to_string(of.kernels)); }},
    {"seed", OptionScope::training, [](Of of) -> Value { return static_cast<std::int64_t>(of.seed); }}};

constexpr Field kRun[] = {
    {"run", OptionScope::run, [](Of of) -> Value { return of.run.string(); }},
    {"resume", OptionScope::run, [](Of of) -> Value { return of.resume; }},
    {"allow-changed", OptionScope::run, [](Of of) -> Value { return of.allow_changed; }},
    {"reschedule", OptionScope::run, [](Of of) -> Value { return of.reschedule; }},
    {"checkpoint-every", OptionScope::run,
     [](Of of) -> Value { return to_string(of.training.checkpoint_every); }},
    {"keep-last", OptionScope::run, [](Of of) -> Value { return of.training.keep_last; }},
    {"keep-best", OptionScope::run, [](Of of) -> Value { return of.training.keep_best; }},
    {"keep-every", OptionScope::run,
     [](Of of) -> Value { return static_cast<double>(of.training.keep_every.count()) / 3600; }},
    {"check-replicas", OptionScope::run, [](Of of) -> Value { return of.training.check_replicas; }},
    {"mesh", OptionScope::run, [](Of of) -> Value { return of.mesh; }},
    {"mesh-order", OptionScope::run, [](Of of) -> Value { return of.mesh_order; }},
    {"backend", OptionScope::run, [](Of of) -> Value { return std::string(comm::to_string(of.backend)); }},
    {"collectives", OptionScope::run,
     [](Of of) -> Value { return std::string(parallel::to_string(of.training.collectives)); }},
    {"checked", OptionScope::run, [](Of of) -> Value { return of.checked; }},
    {"timeout", OptionScope::run,
     [](Of of) -> Value { return std::chrono::duration<double>(of.timeout).count(); }},
    {"device", OptionScope::run, [](Of of) -> Value { return std::string(device::to_string(of.device)); }},
    {"cuda-graph", OptionScope::run,
     [](Of of) -> Value { return std::string(to_string(of.training.cuda_graph)); }},
    {"on-bad", OptionScope::run, [](Of of) -> Value { return std::string(to_string(of.training.on_bad)); }},
    {"decode", OptionScope::run,
     [](Of of) -> Value { return std::string(data::to_string(of.training.decode)); }},
    {"checkpoint-local", OptionScope::run,
     [](Of of) -> Value { return of.training.checkpoint_local.string(); }},
    {"stage", OptionScope::rank, [](Of of) -> Value { return of.training.stage.string(); }},
    {"stage-size", OptionScope::rank,
     [](Of of) -> Value {
       return of.training.stage_bytes > 0 ? std::to_string(of.training.stage_bytes) : "";
     }},
    {"threads", OptionScope::rank, [](Of of) -> Value { return std::int64_t{of.threads}; }},
    {"loader-threads", OptionScope::rank, [](Of of) -> Value { return std::int64_t{of.loader_threads}; }}};

}  // namespace

config::Options make_record(const SessionOptions& asked) {
  config::Options record(asked.program, asked.program);
  const SessionOptions defaults;
  const auto add = [&](const Field& field) {
    record.declare({.name = field.name,
                    .default_value = field.value(defaults),
                    .help = {},
                    .scope = field.scope,
                    .standard = true});
    if (OptionValue value = field.value(asked); value != field.value(defaults))
      record.preset(field.name, std::move(value));
  };
  for (const Field& field : kTraining) add(field);
  for (const Field& field : kRun) add(field);
  return record;
}

}  // namespace bunchtrain::train
