// SPDX-License-Identifier: Apache-2.0
#include "training_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "bunchtrain/core/error.hpp"
#include "rank_agreement.hpp"
#include "training_loop.hpp"

namespace bunchtrain::train {
namespace {

/// The steps that train on `most` samples at most. The last batch of a pass may be smaller than the others.
std::int64_t steps_within(std::int64_t most, std::int64_t samples, std::int64_t batch) {
  const std::int64_t per_pass = (samples + batch - 1) / batch;
  return most / samples * per_pass + most % samples / batch;
}

/// Peak rates of the networks as the program gave them, or what the user set for all of them.
std::vector<double> base_rates(const Session& session, const TrainingTask& task) {
  const Choice<double>& rate = session.asked().training.learning_rate;
  if (rate.by_user) {
    session.use("learning-rate");
    return std::vector<double>(task.networks.size(), rate.value);
  }
  std::vector<double> rates;
  for (const auto& network : task.networks) rates.push_back(network.optimizer->learning_rate());
  return rates;
}

void set_effective_rate(config::Options& effective, const TrainingTask& task,
                        const std::vector<double>& rates) {
  if (std::ranges::adjacent_find(rates, std::not_equal_to()) == rates.end())
    return effective.set_effective("learning-rate", rates.front());
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < rates.size(); ++i)
    parts.push_back(fmt::format("{} {}", task.networks[i].name, rates[i]));
  effective.leave_out("learning-rate", fmt::format("set by the program: {}", fmt::join(parts, ", ")));
}

/// Standard options that nothing asked for decide nothing: the program's code does. (Its own options may
/// still be asked for while it trains.)
void leave_out_unused(config::Options& effective) {
  for (const auto& name : effective.names()) {
    const config::OptionSpec& spec = effective.spec(name);
    if (spec.standard && !effective.used(name) && spec.scope != config::OptionScope::run)
      effective.leave_out(name, "not used by this run");
  }
}

config::Options effective_options(const Session& session, const TrainingTask& task, const Settings& settings,
                                  const std::vector<double>& rates) {
  session.use("seed");  // of order and dropout
  config::Options effective = session.options();
  effective.set_effective("epochs", settings.epochs);
  effective.set_effective("steps-per-epoch", settings.steps_per_epoch);
  effective.set_effective("max-steps", settings.max_steps);
  effective.set_effective("max-samples", settings.max_samples);
  effective.set_effective("batch", settings.batch);
  effective.set_effective("reference-batch", settings.reference_batch);
  effective.set_effective("validate-every", settings.validate_every);
  effective.set_effective("ema", settings.ema);
  effective.set_effective("schedule", std::string(optim::to_string(settings.schedule)));
  if (task.objective) {
    effective.set_effective("accumulate", settings.accumulate);
    effective.set_effective("clip-norm", settings.clip_norm);
  }
  set_effective_rate(effective, task, rates);
  leave_out_unused(effective);
  return effective;
}

/// Collective. Each network, and each rank, has the groups that match parameters there.
/// @throws ConfigError for one that matches none at all.
void require_matching_groups(const Session& session, const TrainingTask& task) {
  if (!session.options().used("group")) return;  // the program makes its own
  for (const auto& group : session.asked().training.groups) {
    const bool here = std::ranges::any_of(task.networks, [&](const TrainedNetwork& network) {
      return optim::matches_any(group, network.engine->arenas());
    });
    if (session.control().all_max(here) > 0) continue;
    std::vector<std::string> names;
    for (const auto& network : task.networks)
      names.push_back(optim::list_parameters(network.engine->arenas()));
    throw ConfigError(
        "group", optim::to_string(group),
        fmt::format("a pattern that matches the name of a parameter: {}", fmt::join(names, "; ")));
  }
}

}  // namespace

RunLength plan_length(const Settings& settings, std::int64_t samples) {
  const std::int64_t per_pass = (samples + settings.batch - 1) / settings.batch;
  RunLength length;
  length.steps_per_epoch = settings.steps_per_epoch > 0 ? settings.steps_per_epoch : per_pass;
  length.total_steps = settings.epochs * length.steps_per_epoch;
  if (settings.max_steps > 0) length.total_steps = std::min(length.total_steps, settings.max_steps);
  if (settings.max_samples > 0)
    length.total_steps =
        std::min(length.total_steps, steps_within(settings.max_samples, samples, settings.batch));
  if (length.total_steps == 0)
    throw ConfigError("max-samples", fmt::format("{}", settings.max_samples),
                      fmt::format("at least one batch of {} samples", std::min(samples, settings.batch)));
  length.schedule_steps = length.total_steps;
  return length;
}

TrainingPlan make_plan(Session& session, const TrainingTask& task, const data::Dataset& train,
                       const data::Dataset* valid) {
  const auto passes = task.objective ? Passes::of_trainer : Passes::of_step;
  const Settings settings =
      resolve_settings(task.options, session.asked().training, session.options(), passes);
  require_matching_groups(session, task);
  std::vector<double> rates = base_rates(session, task);
  config::Options effective = effective_options(session, task, settings, rates);
  std::vector<Fact> facts = collect_facts(effective, task.networks, train, valid, task.options.metadata);
  require_agreement(
      session.control(), facts,
      "all ranks must train alike: give them the same options, files of the same content (copies on "
      "local disks too) and settings in the program that do not depend on the rank");
  for (double& rate : rates) rate *= settings.rate_scale();
  TrainingPlan plan{.settings = settings,
                    .length = plan_length(settings, train.size()),
                    .peak_rates = std::move(rates),
                    .effective = std::move(effective),
                    .facts = std::move(facts)};
  session.set_up_complete(plan.effective);
  return plan;
}

}  // namespace bunchtrain::train
