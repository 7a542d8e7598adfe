// SPDX-License-Identifier: Apache-2.0
#include "training_loop.hpp"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "bunchtrain/train/trained_on.hpp"
#include "validation_pass.hpp"

namespace bunchtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

data::DataLoaderOptions loader_options(const Session& session, const Settings& settings, bool shuffle) {
  return {.global_batch = settings.batch,
          .rank = session.rank(),
          .world_size = session.size(),
          .seed = session.seed(),
          .shuffle = shuffle,
          .threads = session.threads().loader,
          .device = session.device(),
          .while_waiting =
              [world = session.world(), agreement = session.agreement()]() mutable {
                world.tell_reading();
                agreement.tell_reading();
              },
          .logger = session.logger()};
}

std::optional<data::DataLoader> make_valid_loader(const Session& session, const Settings& settings,
                                                  const data::DatasetPtr& valid) {
  if (!valid || valid->size() == 0) return std::nullopt;
  auto options = loader_options(session, settings, false);
  options.logger = {};  // it would speak in the middle of the progress bar, and says nothing new
  return std::make_optional<data::DataLoader>(valid, options);
}

/// Rows [begin, end) of a rank's share, for gradient accumulation.
data::Batch slice(const data::Batch& batch, std::int64_t begin, std::int64_t end) {
  data::Batch part = batch;
  part.tensors = {};
  for (const auto& [name, tensor] : batch.tensors) part.tensors.set(name, tensor.slice(0, begin, end));
  part.sample_ids = batch.sample_ids.slice(0, begin, end);
  return part;
}

/// The validation of a classifier, if the data have classes.
std::shared_ptr<Validation> default_validation(const Step& step, const data::Dataset& dataset) {
  const auto& summary = dataset.summary();
  if (!step || summary.classes.size() < 2) return nullptr;
  return make_classification_validation(step, classification_options(summary.classes, summary.signal));
}

std::vector<torch::nn::Module*> modules_of(std::span<const TrainedNetwork> networks) {
  std::vector<torch::nn::Module*> modules;
  for (const auto& network : networks) modules.push_back(&network.parallel->module());
  return modules;
}

}  // namespace

TrainingLoop::TrainingLoop(Session& session, TrainingTask task, const data::DatasetPtr& train,
                           const data::DatasetPtr& valid)
    : session_(session),
      task_(std::move(task)),
      settings_(resolve_settings(task_.options, session.options())),
      train_(train),
      valid_(valid),
      loader_(train, loader_options(session, settings_, true)),
      valid_loader_(make_valid_loader(session, settings_, valid)),
      store_(session.run_folder().checkpoints(), session.agreement(),
             {.keep_last = settings_.keep_last, .logger = session.logger()}) {
  if (!task_.validation) task_.validation = default_validation(task_.step, *train_);
  const bool override_rate = session.options().given("learning-rate");
  for (const auto& network : task_.networks)
    peak_rates_.push_back(settings_.rate_scale() * (override_rate
                                                        ? session.options().get<double>("learning-rate")
                                                        : network.optimizer->learning_rate()));
}

FitResult TrainingLoop::run() {
  if (session_.resume()) resume();
  session_.leave_if_stopped();  // nothing was trained yet, and the folder is as it was
  log_ = std::make_unique<RunLog>(
      session_, session_.run_folder(), settings_, task_.options.samples,
      RunPlan{.steps_per_epoch = loader_.steps_per_epoch(), .first_step = state_.step});
  log_->describe(task_.networks, *train_, valid_.get(), task_.options.metadata);
  if (state_.step > 0)
    log_->note(fmt::format("resumed at step {} (epoch {})", state_.step, state_.epoch + 1));
  for (auto* module : modules_of(task_.networks)) module->train();
  session_.leave_if_stopped();
  const OrderlyStop orderly;  // from here on a signal ends the step and saves
  const auto phase = session_.control().in_phase("training");
  while (state_.epoch < settings_.epochs) {
    run_epoch();
    finish_epoch();
  }
  if (!validation_) validation_ = judge();  // a run that was finished already
  result_.epochs = state_.epoch;
  result_.steps = state_.step;
  result_.validation = validation_;
  result_.run_folder = session_.run_folder().path();
  log_->finish(result_);
  return result_;
}

void TrainingLoop::resume() {
  if (const auto snapshot = store_.load_latest()) state_ = restore(*snapshot, task_.networks, loader_);
}

void TrainingLoop::run_epoch() {
  while (true) {
    const auto start = Clock::now();
    const auto batch = loader_.next();
    if (!batch) return;
    state_.split.data += seconds_since(start);
    const StepOutcome outcome = run_step(*batch);
    state_.seconds += seconds_since(start);
    log_->step(outcome.event, samples_per_second());
    for (const auto& callback : task_.callbacks) callback->on_step(outcome.event);
    require_progress(outcome.event);
    if (state_.epoch_steps == loader_.steps_per_epoch()) {
      if (outcome.stop) session_.request_stop();  // the epoch is finished and saved first
    } else if (outcome.stop || outcome.save) {
      save(std::nullopt);
      if (outcome.stop) throw Interrupted{StopSignal::received()};
    }
  }
}

TrainingLoop::StepOutcome TrainingLoop::run_step(const data::Batch& batch) {
  StepEvent event{.step = state_.step + 1, .epoch = state_.epoch};
  const optim::ScheduleOptions schedule{.kind = settings_.schedule,
                                        .learning_rate = 1,
                                        .total_steps = settings_.epochs * loader_.steps_per_epoch(),
                                        .steps_per_epoch = loader_.steps_per_epoch(),
                                        .warmup_steps = settings_.warmup_steps};
  set_learning_rates(optim::learning_rate_at(schedule, state_.step));
  event.learning_rate = task_.networks.front().optimizer->learning_rate();
  loss_of_rank_ = exposed_ = 0;
  train_on(batch, event);

  // One small collective per step carries the losses and the wish to stop, so that all ranks stop at the same
  // step.
  const bool due = checkpoint_due();
  std::vector<double> of_rank = {session_.stop_requested() ? 1.0 : 0.0, due ? 1.0 : 0.0, loss_of_rank_};
  for (const auto& term : terms_of_rank_) of_rank.push_back(term.value);
  const std::vector<double> sums = sum_over_ranks(std::move(of_rank));
  const auto global_samples = static_cast<double>(batch.global_size());
  event.loss = sums[2] / global_samples;
  state_.term_sums.resize(terms_of_rank_.size());
  for (std::size_t i = 0; i < terms_of_rank_.size(); ++i) {
    event.terms.push_back({terms_of_rank_[i].name, sums[3 + i] / global_samples});
    state_.term_sums[i] += sums[3 + i];
  }

  state_.step += 1;
  state_.epoch_steps += 1;
  state_.loss_sum += sums[2];
  state_.samples += global_samples;
  state_.timed_samples += global_samples;
  state_.timed_steps += 1;
  state_.unsynchronized_samples += batch.size();
  return {.event = event, .stop = sums[0] > 0, .save = sums[1] > 0};
}

/// Collective. The seconds that the ranks spent on gradients travel too: the rank that came last waited for
/// nobody, so that its time is the collectives' own, and what the others have above it is waiting.
std::vector<double> TrainingLoop::sum_over_ranks(std::vector<double> of_rank) {
  const auto values = of_rank.size();
  of_rank.resize(values + static_cast<std::size_t>(session_.size()));
  of_rank[values + static_cast<std::size_t>(session_.rank())] = exposed_;
  const auto start = Clock::now();
  at::Tensor shared = at::tensor(of_rank, at::kDouble);
  session_.agreement().all_reduce(shared).wait();
  const std::span sums(shared.const_data_ptr<double>(), of_rank.size());
  const double communication = *std::ranges::min_element(sums.subspan(values));
  state_.split.communication += communication;
  state_.split.idle += exposed_ - communication + seconds_since(start);
  return {sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(values)};
}

/// Collective. Of one step, over the epoch's steps and all ranks.
report::StepSplit TrainingLoop::mean_split() {
  const report::StepSplit& sum = state_.split;
  at::Tensor shared = at::tensor(
      {sum.data, sum.forward, sum.backward, sum.communication, sum.optimizer, sum.idle}, at::kDouble);
  session_.agreement().all_reduce(shared).wait();
  shared.div_(static_cast<double>(std::max<std::int64_t>(state_.timed_steps, 1) * session_.size()));
  const double* mean = shared.const_data_ptr<double>();
  return {.data = mean[0],
          .forward = mean[1],
          .backward = mean[2],
          .communication = mean[3],
          .optimizer = mean[4],
          .idle = mean[5]};
}

void TrainingLoop::train_on(const data::Batch& batch, StepEvent& event) {
  const device::PrecisionGuard precision(session_.precision(), session_.device().type());
  const data::Batch ready = in_precision(batch, session_.precision());
  if (task_.manual_step) {
    run_manual_step(ready);
    return;
  }
  auto& network = task_.networks.front();
  const std::int64_t passes = settings_.accumulate;
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const data::Batch part =
        passes == 1 ? ready : slice(ready, ready.size() * pass / passes, ready.size() * (pass + 1) / passes);
    const nn::StepContext context(session_.seed(), state_.step, part.sample_ids);
    auto start = Clock::now();
    const StepResult result = task_.step(part);
    state_.split.forward += seconds_since(start);
    start = Clock::now();
    network.parallel->backward(result.loss, {.samples = result.samples,
                                             .global_samples = batch.global_size(),
                                             .last = pass + 1 == passes,
                                             .zero_first = pass == 0});
    const double exposed = pass + 1 == passes ? network.parallel->exposed_seconds() : 0;
    state_.split.backward += seconds_since(start) - exposed;
    exposed_ += exposed;
    loss_of_rank_ += result.loss.item<double>() * static_cast<double>(result.samples);
  }
  const auto start = Clock::now();
  event.gradient_norm = network.optimizer->step({.clip_norm = settings_.clip_norm}).gradient_norm;
  state_.split.optimizer += seconds_since(start);
}

void TrainingLoop::run_manual_step(const data::Batch& batch) {
  const auto exposed = [this] {
    double seconds = 0;
    for (const auto& network : task_.networks) seconds += network.parallel->total_exposed_seconds();
    return seconds;
  };
  const nn::StepContext context(session_.seed(), state_.step, batch.sample_ids);
  const auto start = Clock::now();
  const double exposed_before = exposed();
  terms_of_rank_ = task_.manual_step(batch);
  expects(!terms_of_rank_.empty(), "a manual step returns at least one loss term");
  // A mean over no samples may be NaN: it counts nothing.
  for (auto& term : terms_of_rank_)
    term.value = batch.size() == 0 ? 0 : term.value * static_cast<double>(batch.size());
  loss_of_rank_ = terms_of_rank_.front().value;
  exposed_ = exposed() - exposed_before;
  state_.split.forward += seconds_since(start) - exposed_;
}

void TrainingLoop::require_progress(const StepEvent& event) {
  bool finite = std::isfinite(event.loss);
  for (const auto& term : event.terms) finite = finite && std::isfinite(term.value);
  if (!finite)
    throw TrainingHalted(
        fmt::format("the loss is not finite at step {}: the networks are lost from here on. The newest "
                    "snapshot in {} is from "
                    "before; go on from it by --resume with a lower --learning-rate or with --clip-norm",
                    event.step, session_.run_folder().checkpoints().string()));
  const std::string reason = task_.options.halt_when ? task_.options.halt_when(event) : std::string();
  if (reason.empty()) return;
  save(std::nullopt);
  throw TrainingHalted(fmt::format("{} (step {}; a snapshot is in {})", reason, event.step,
                                   session_.run_folder().checkpoints().string()));
}

void TrainingLoop::finish_epoch() {
  const auto start = Clock::now();
  for (auto& network : task_.networks) network.parallel->synchronize_buffers(state_.unsynchronized_samples);
  state_.unsynchronized_samples = 0;
  report::EpochRow row{.epoch = state_.epoch + 1,
                       .epochs = settings_.epochs,
                       .step = state_.step,
                       .train_loss = state_.loss_sum / std::max(state_.samples, 1.0),
                       .learning_rate = task_.networks.front().optimizer->learning_rate(),
                       .samples_per_second = samples_per_second()};
  row.split = mean_split();
  std::optional<double> metric;
  for (std::size_t i = 0; i < terms_of_rank_.size(); ++i)
    row.losses.push_back({terms_of_rank_[i].name, state_.term_sums[i] / std::max(state_.samples, 1.0)});
  validation_ = judge();
  if (validation_) {
    if (validation_->loss) row.valid_loss = *validation_->loss;
    row.metrics = validation_->metrics;
    metric = validation_->score;
  }
  result_.samples_per_second = row.samples_per_second;
  result_.train_loss = row.train_loss;
  row.seconds = state_.seconds + seconds_since(start);
  state_.start_next_epoch();
  log_->epoch(row, validation_);
  for (const auto& callback : task_.callbacks) callback->on_epoch(row);
  save(metric);
  const bool stop = session_.control().all_max(session_.stop_requested()) > 0;
  if (stop && state_.epoch < settings_.epochs) throw Interrupted{StopSignal::received()};
}

std::optional<ValidationResult> TrainingLoop::judge() {
  if (!valid_loader_ || !task_.validation) return std::nullopt;
  return run_validation(session_, modules_of(task_.networks), *task_.validation, *valid_loader_,
                        [this](std::int64_t done, std::int64_t total) { log_->validating(done, total); });
}

void TrainingLoop::save(std::optional<double> metric) {
  session_.run_folder().require_owned(session_.control());
  const CapturedState captured = capture(state_, task_.networks, loader_);
  checkpoint::Metadata metadata(task_.options.metadata.begin(), task_.options.metadata.end());
  if (const auto& card = train_->summary().card; !card.empty()) metadata["card"] = card;
  if (auto trained_on = to_text(train_->summary()); !trained_on.empty())
    metadata[kTrainedOnKey] = std::move(trained_on);
  const auto info = store_.save({.step = state_.step,
                                 .components = captured.replicated,
                                 .rank_components = captured.of_rank,
                                 .metadata = std::move(metadata),
                                 .metric = metric});
  last_save_ = Clock::now();
  for (const auto& callback : task_.callbacks) callback->on_checkpoint(info.folder);
}

void TrainingLoop::set_learning_rates(double factor_of_peak) {
  for (std::size_t i = 0; i < task_.networks.size(); ++i)
    task_.networks[i].optimizer->set_learning_rate(peak_rates_[i] * factor_of_peak);
}

bool TrainingLoop::checkpoint_due() {
  const auto& every = settings_.checkpoint_every;
  if (every.steps > 0 && (state_.step + 1) % every.steps == 0) return true;
  return every.time.count() > 0 && session_.is_root() && Clock::now() - last_save_ >= every.time;
}

double TrainingLoop::samples_per_second() const {
  return state_.seconds > 0 ? state_.timed_samples / state_.seconds : 0;
}

}  // namespace bunchtrain::train
