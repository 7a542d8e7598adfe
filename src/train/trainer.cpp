// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/trainer.hpp"

#include <fmt/format.h>

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

/// Collective: what one rank finds is an error on all.
void check_data(const Session& session, const TrainingTask& task, const data::Dataset& train,
                const data::Dataset* valid) {
  session.control().together([&] {
    if (task.objective) require_classes(train.summary(), task.options.samples);
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

void Trainer::add_callback(std::shared_ptr<Callback> callback) {
  impl_->task.callbacks.push_back(std::move(callback));
}

FitResult Trainer::fit(const data::DatasetPtr& train, const data::DatasetPtr& valid) {
  expects(train && train->size() > 0, "the training data is empty");
  require_names_of_their_own(impl_->task.callbacks);
  const TrainingTask task = with_description(impl_->task);
  TrainingPlan plan = make_plan(impl_->session, task, *train, valid.get());
  check_data(impl_->session, task, *train, valid.get());
  return TrainingLoop(impl_->session, task, std::move(plan), train, valid).run();
}

}  // namespace bunchtrain::train
