// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/trainer.hpp"

#include <fmt/format.h>

#include <torch/nn/module.h>

#include <algorithm>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/overlap.hpp"
#include "bunchtrain/nn/model.hpp"
#include "training_loop.hpp"

namespace bunchtrain::train {
namespace {

/// @throws DataError if a classifier would learn to say always the same.
void require_classes(const data::DatasetSummary& summary, const std::string& samples) {
  const auto& counts = summary.class_counts;
  if (summary.classes.size() < 2 || counts.size() != summary.classes.size()) return;
  const auto present = std::ranges::find_if(counts, [](std::int64_t count) { return count > 0; });
  if (present == counts.end() || std::ranges::count(counts, 0) + 1 != std::ssize(counts)) return;
  throw DataError(
      fmt::format("nothing to learn: all {} {} of the training data are '{}'. Name the files of the other "
                  "classes, too, or, to "
                  "train something else than a classifier on them, take [label] out of the card",
                  *present, samples, summary.classes[static_cast<std::size_t>(present - counts.begin())]));
}

/// A network that says how to build it is remembered by every snapshot, unless the program says it.
TrainingTask with_description(TrainingTask task) {
  if (task.networks.size() != 1) return task;
  const std::string text = nn::describe(task.networks.front().engine->module());
  if (!text.empty()) task.options.metadata.try_emplace("model", text);
  return task;
}

/// Their states lie in the snapshots by name.
void require_names_of_their_own(const std::vector<std::shared_ptr<Callback>>& callbacks) {
  std::set<std::string> names;
  for (const auto& callback : callbacks)
    if (const std::string name = callback->name(); !name.empty() && !names.insert(name).second)
      throw ConfigError("callback", name, "a name that no other callback of the run has");
}

/// @throws ConfigError for a network that the inputs of the session's precision do not fit.
void require_wide_network(const Session& session, const TrainingTask& task) {
  if (!task.objective || session.precision() != device::Precision::float64) return;
  const auto parameters = task.networks.front().engine->module().parameters();
  const auto is_wide = [](const at::Tensor& parameter) { return parameter.scalar_type() == at::kDouble; };
  if (parameters.empty() || std::ranges::any_of(parameters, is_wide)) return;
  throw ConfigError(
      "precision", "float64",
      "a network in float64: give its engine train::parallel_options(session), which make it one, "
      "or call module->to(at::kDouble) before");
}

/// @throws ConfigError for ranks along an axis that a network's engine knows nothing of.
void require_served_mesh(const Session& session, const TrainingTask& task) {
  const comm::Mesh mesh = session.mesh();
  for (const TrainedNetwork& network : task.networks) {
    const std::vector<comm::Axis> served = network.engine->axes();
    for (const comm::Axis axis : comm::kAxes)
      if (mesh.size(axis) > 1 && std::ranges::find(served, axis) == served.end())
        throw ConfigError("mesh", mesh.shape().to_string(),
                          fmt::format("data={}: network '{}' does not train along the {} axis",
                                      session.size(), network.name, comm::to_string(axis)));
  }
}

/// @throws ConfigError for a mean over elements of data that have none.
void require_elements(const nn::Objective& objective, const data::Dataset& data) {
  if (objective.mean_over() == nn::MeanOver::elements && data.ragged().empty())
    throw ConfigError("objective", "a mean over elements",
                      fmt::format("one over samples: {} has no elements (hits, particles), only rows",
                                  data.summary().description));
}

/// Collective: what one rank finds is an error on all.
void check_data(const Session& session, const TrainingTask& task, const data::Dataset& train,
                const data::Dataset* valid) {
  session.control().together([&] {
    if (task.objective) {
      require_classes(train.summary(), task.options.samples);
      require_elements(task.objective, train);
      if (valid) require_elements(task.objective, *valid);
    }
    if (valid) data::require_disjoint(train, *valid);
  });
}

}  // namespace

struct Trainer::Impl {
  Session& session;
  TrainingTask task;
};

Trainer::Trainer(Session& session, parallel::Engine& engine, optim::Optimizer& optimizer,
                 nn::Objective objective, TrainerOptions options)
    : impl_(new Impl{session,
                     {.networks = {{"model", &engine, &optimizer}},
                      .objective = std::move(objective),
                      .manual_step = {},
                      .validation = nullptr,
                      .by_default = true,
                      .metrics = {},
                      .options = std::move(options),
                      .callbacks = {}}}) {
  expects(static_cast<bool>(impl_->task.objective), "the trainer needs an objective");
}

Trainer::Trainer(Session& session, std::vector<TrainedNetwork> networks, ManualStep step,
                 std::shared_ptr<Validation> validation, TrainerOptions options)
    : impl_(new Impl{session,
                     {.networks = std::move(networks),
                      .objective = {},
                      .manual_step = std::move(step),
                      .validation = std::move(validation),
                      .by_default = false,
                      .metrics = {},
                      .options = std::move(options),
                      .callbacks = {}}}) {
  expects(!impl_->task.networks.empty(), "the trainer needs at least one network");
  expects(static_cast<bool>(impl_->task.manual_step), "the trainer needs a step");
}

Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

void Trainer::use_validation(std::shared_ptr<Validation> validation) {
  impl_->task.validation = std::move(validation);
  impl_->task.by_default = false;
}

void Trainer::add_metric(std::string name, SampleMetric metric, SampleMetricOptions options) {
  expects(static_cast<bool>(metric), "a metric is a function");
  NamedSampleMetric added{std::move(name), std::move(metric), options};
  require_can_be_added(added, impl_->task.metrics);
  impl_->task.metrics.push_back(std::move(added));
}

void Trainer::add_callback(std::shared_ptr<Callback> callback) {
  impl_->task.callbacks.push_back(std::move(callback));
}

FitResult Trainer::fit(const data::DatasetPtr& train, const data::DatasetPtr& valid) {
  expects(train && train->size() > 0, "the training data is empty");
  require_names_of_their_own(impl_->task.callbacks);
  require_served_mesh(impl_->session, impl_->task);
  const TrainingTask task = with_description(impl_->task);
  TrainingPlan plan = make_plan(impl_->session, task, *train, valid.get());
  require_wide_network(impl_->session, task);
  check_data(impl_->session, task, *train, valid.get());
  return TrainingLoop(impl_->session, task, std::move(plan), train, valid).run();
}

}  // namespace bunchtrain::train
