// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/trainer.hpp"

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/overlap.hpp"
#include "bunchtrain/nn/described_module.hpp"
#include "training_loop.hpp"

namespace bunchtrain::train {
namespace {

/// A network that says how to build it is remembered by every snapshot, unless the program says it.
TrainingTask with_description(TrainingTask task) {
  if (task.networks.size() != 1) return task;
  const std::string text = nn::describe(task.networks.front().parallel->module());
  if (!text.empty()) task.options.metadata.try_emplace("model", text);
  return task;
}

/// Collective: what one rank finds is an error on all.
void require_disjoint(const Session& session, const data::Dataset& train, const data::Dataset& valid) {
  std::string error;
  try {
    data::require_disjoint(train, valid);
  } catch (const DataError& failure) {
    error = failure.message();
  }
  session.control().agree_or_throw(error);
}

}  // namespace

struct Trainer::Impl {
  Session& session;
  TrainingTask task;
};

Trainer::Trainer(Session& session, parallel::DataParallel& parallel, optim::Optimizer& optimizer, Step step,
                 TrainerOptions options)
    : impl_(new Impl{session,
                     {.networks = {{"model", &parallel, &optimizer}},
                      .step = step,
                      .manual_step = {},
                      .validation = nullptr,
                      .options = std::move(options),
                      .callbacks = {}}}) {
  expects(static_cast<bool>(step), "the trainer needs a step");
}

Trainer::Trainer(Session& session, std::vector<TrainedNetwork> networks, ManualStep step,
                 std::shared_ptr<Validation> validation, TrainerOptions options)
    : impl_(new Impl{session,
                     {.networks = std::move(networks),
                      .step = {},
                      .manual_step = std::move(step),
                      .validation = std::move(validation),
                      .options = std::move(options),
                      .callbacks = {}}}) {
  expects(!impl_->task.networks.empty(), "the trainer needs at least one network");
  expects(static_cast<bool>(impl_->task.manual_step), "the trainer needs a step");
}

Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

void Trainer::add_callback(std::shared_ptr<Callback> callback) {
  impl_->task.callbacks.push_back(std::move(callback));
}

FitResult Trainer::fit(const data::DatasetPtr& train, const data::DatasetPtr& valid) {
  expects(train && train->size() > 0, "the training data is empty");
  if (valid) require_disjoint(impl_->session, *train, *valid);
  return TrainingLoop(impl_->session, with_description(impl_->task), train, valid).run();
}

}  // namespace bunchtrain::train
