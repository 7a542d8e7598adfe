// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/session_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include "bunchtrain/app/byte_count.hpp"
#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/cuda_graph.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/optim/parameter_group.hpp"
#include "bunchtrain/optim/schedule.hpp"
#include "bunchtrain/parallel/collective_plan.hpp"
#include "bunchtrain/train/detail/same_options.hpp"
#include "bunchtrain/train/early_stopping.hpp"

namespace bunchtrain::app {
namespace {

using config::Options;
using train::Choice;

template <class T>
Choice<T> choice(const Options& options, std::string_view name) {
  return {options.get<T>(name), options.given(name)};
}

std::vector<optim::ParameterGroup> groups_of(const Options& options) {
  std::vector<optim::ParameterGroup> groups;
  for (const auto& text : options.get<std::vector<std::string>>("group"))
    groups.push_back(optim::parse_parameter_group(text));
  return groups;
}

bool weighted_validation(const std::string& text) {
  if (text != "card" && text != "none") throw ConfigError("valid-weights", text, "card, none");
  return text == "card";
}

std::chrono::seconds hours(const Options& options, std::string_view name) {
  const double count = options.get<double>(name);
  if (!(count >= 0 && count < 1e6))
    throw ConfigError(name, fmt::format("{}", count), "0 or a number of hours");
  return std::chrono::seconds(std::llround(count * 3600));
}

/// A program that reads several runs has a list of its own in this place.
std::string run_of(const Options& options) {
  const bool one = std::holds_alternative<std::string>(options.spec("run").default_value);
  return one ? options.get<std::string>("run") : std::string();
}

/// @throws ConfigError for what is no number of bytes, or is given for nothing
std::uint64_t stage_bytes(const Options& options) {
  const auto& text = options.get<std::string>("stage-size");
  if (text.empty()) return 0;
  if (options.get<std::string>("stage").empty())
    throw ConfigError("stage-size", text, "nothing without a folder for the copies: --stage FOLDER");
  return static_cast<std::uint64_t>(parse_byte_count("stage-size", text));
}

train::TrainingChoices training_choices(const Options& options) {
  train::TrainingChoices choices{
      .epochs = choice<std::int64_t>(options, "epochs"),
      .steps_per_epoch = choice<std::int64_t>(options, "steps-per-epoch"),
      .max_steps = choice<std::int64_t>(options, "max-steps"),
      .max_samples = choice<std::int64_t>(options, "max-samples"),
      .validate_every = choice<std::int64_t>(options, "validate-every"),
      .batch = choice<std::int64_t>(options, "batch"),
      .reference_batch = choice<std::int64_t>(options, "reference-batch"),
      .accumulate = choice<std::int64_t>(options, "accumulate"),
      .weighted_validation = weighted_validation(options.get<std::string>("valid-weights")),
      .optimizer = options.get<std::string>("optimizer"),
      .learning_rate = choice<double>(options, "learning-rate"),
      .weight_decay = options.get<double>("weight-decay"),
      .groups = groups_of(options),
      .schedule = {optim::parse_schedule(options.get<std::string>("schedule")), options.given("schedule")},
      .warmup_steps = options.get<std::int64_t>("warmup-steps"),
      .clip_norm = choice<double>(options, "clip-norm"),
      .check_finite = train::parse_check_finite(options.get<std::string>("check-finite")),
      .on_bad = train::parse_on_bad(options.get<std::string>("on-bad")),
      .decode = data::parse_decode_on(options.get<std::string>("decode")),
      .cuda_graph = device::parse_cuda_graph(options.get<std::string>("cuda-graph")),
      .ema = choice<double>(options, "ema"),
      .patience = options.get<std::int64_t>("patience"),
      .checkpoint_every = train::parse_checkpoint_interval(options.get<std::string>("checkpoint-every")),
      .checkpoint_local = options.get<std::string>("checkpoint-local"),
      .stage = options.get<std::string>("stage"),
      .stage_bytes = stage_bytes(options),
      .keep_last = options.get<std::int64_t>("keep-last"),
      .keep_best = options.get<std::int64_t>("keep-best"),
      .keep_every = hours(options, "keep-every"),
      .check_replicas = options.get<std::int64_t>("check-replicas"),
      .sync_batch_norm = options.get<bool>("sync-batch-norm"),
      .collectives = parallel::parse_collective_plan(options.get<std::string>("collectives"))};
  if (const auto& text = options.get<std::string>("early-stop"); !text.empty())
    choices.early_stop = train::parse_early_stopping(text);
  return choices;
}

}  // namespace

train::SessionOptions session_options(const Options& given) {
  const Options options = given;  // what is read here counts as used only where the run uses it
  train::SessionOptions asked{.program = options.program(),
                              .device = device::parse_device(options.get<std::string>("device")),
                              .kernels = ops::parse_kernels(options.get<std::string>("kernels")),
                              .seed = static_cast<std::uint64_t>(options.get<std::int64_t>("seed")),
                              .threads = static_cast<int>(options.get<std::int64_t>("threads")),
                              .loader_threads = static_cast<int>(options.get<std::int64_t>("loader-threads")),
                              .backend = comm::parse_backend(options.get<std::string>("backend")),
                              .checked = options.get<bool>("checked"),
                              .timeout = timeout_of(options),
                              .mesh = options.get<std::string>("mesh"),
                              .mesh_order = options.get<std::string>("mesh-order"),
                              .run = run_of(options),
                              .resume = options.get<bool>("resume"),
                              .allow_changed = options.get<bool>("allow-changed"),
                              .reschedule = options.get<bool>("reschedule"),
                              .training = training_choices(options),
                              .record = given};
  if (const auto& text = options.get<std::string>("precision"); text != "auto")
    asked.precision = device::parse_precision(text);
  return asked;
}

train::Session open_session(const Options& options, const mpi::Comm& control, const Logger& logger,
                            std::vector<comm::Axis> axes) {
  mpi::Comm(control).set_timeout(timeout_of(options));
  train::require_same_options(control, options);
  for (const auto& notice : options.notices()) logger.warning(notice);
  train::SessionOptions asked = session_options(options);
  asked.axes = std::move(axes);
  return {std::move(asked), control, logger};
}

std::chrono::milliseconds timeout_of(const Options& options) {
  const double seconds = options.get<double>("timeout");
  if (!(seconds > 0 && std::isfinite(seconds)))
    throw ConfigError("timeout", fmt::format("{}", seconds), "a positive number of seconds");
  return std::chrono::milliseconds(std::max<std::int64_t>(1, std::llround(std::min(seconds, 1e9) * 1000)));
}

LogLevel parse_log_level(std::string_view text) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error})
    if (text == to_string(level)) return level;
  throw ConfigError("log-level", text, "debug, info, warning, error");
}

}  // namespace bunchtrain::app
