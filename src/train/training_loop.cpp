// SPDX-License-Identifier: Apache-2.0
#include "training_loop.hpp"

#include <ATen/Context.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/early_stopping.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "replica_check.hpp"
#include "resume.hpp"
#include "run_description.hpp"
#include "training_data.hpp"
#include "validation_pass.hpp"
#include "watching.hpp"

namespace bunchtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

/// The validation of a classifier, if the data have classes.
std::shared_ptr<Validation> default_validation(const data::Dataset& dataset) {
  const auto& summary = dataset.summary();
  if (summary.classes.size() < 2) return nullptr;
  return make_classification_validation(classification_options(summary.classes, summary.signal));
}

/// @throws ConfigError if something is asked of a validation that there is not.
void require_validation(const Settings& settings, bool validates) {
  const auto require = [&](const char* name, bool asked, const std::string& value, const char* none) {
    if (asked && !validates)
      throw ConfigError(name, value, fmt::format("{} for a run without validation", none));
  };
  require("patience", settings.patience > 0, fmt::format("{}", settings.patience), "0");
  require("early-stop", settings.early_stop.has_value(),
          settings.early_stop ? settings.early_stop->metric : "", "nothing");
  require("validate-every", settings.validate_every > 0, fmt::format("{}", settings.validate_every), "0");
}

/// What `--patience` and `--early-stop` ask for.
void add_early_stopping(TrainingTask& task, const Settings& settings) {
  const auto add = [&](EarlyStoppingOptions options) {
    if (settings.validate_every > 0) options.unit = "validation";
    task.callbacks.push_back(std::make_shared<EarlyStopping>(std::move(options)));
  };
  if (settings.patience > 0) add({.patience = settings.patience});
  if (settings.early_stop) add(*settings.early_stop);
}

/// What an objective logs in a validation belongs to no step.
class LogOfNoStep {
 public:
  explicit LogOfNoStep(StepLog& log) : log_(log), kept_(log) {}
  ~LogOfNoStep() { log_ = std::move(kept_); }
  LogOfNoStep(const LogOfNoStep&) = delete;
  LogOfNoStep& operator=(const LogOfNoStep&) = delete;

 private:
  StepLog& log_;
  StepLog kept_;
};

/// Collective. None unless all ranks have a GPU.
CapturedSteps::CreateGraph graphs_of(const Session& session) {
  const c10::Device device = session.device();
  if (session.control().all_min(device.is_cuda() ? 1 : 0) == 0) return {};
  return [device] { return device::create_step_graph(device); };
}

/// Waits for a GPU.
double smallest_loss_scale(std::span<const TrainedNetwork> networks) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& network : networks)
    if (const at::Tensor scale = network.optimizer->loss_scale(); scale.defined())
      least = std::min(least, scale.item<double>());
  return least;
}

}  // namespace

TrainingLoop::TrainingLoop(Session& session, TrainingTask task, TrainingPlan plan,
                           const data::DatasetPtr& train, const data::DatasetPtr& valid)
    : session_(session),
      task_(std::move(task)),
      plan_(std::move(plan)),
      settings_(plan_.settings),
      train_(train),
      valid_(valid),
      staging_(make_staging(session, settings_)),
      loader_(make_train_loader(session, settings_, train, staging_, task_.options.length_buckets)),
      valid_loader_(make_valid_loader(session, settings_, valid, staging_)),
      snapshots_(session, settings_),
      averages_(task_.networks, settings_.ema),
      step_number_(session.device()),
      captured_(settings_.cuda_graph, graphs_of(session), session.logger(), session.agreement()),
      run_ahead_(static_cast<std::size_t>(settings_.run_ahead.value_or(session.device().is_cpu() ? 0 : 1))) {
  if (settings_.cuda_graph == CudaGraph::on && !session.device().is_cuda())
    throw ConfigError("cuda-graph", "on", "auto or off on a CPU: a CUDA graph repeats work of a GPU");
  if (task_.objective && task_.by_default) task_.validation = default_validation(*train_);
  require_validation(settings_, valid_loader_ && judges());
  add_early_stopping(task_, settings_);
  scale_losses();
}

/// float16 cannot do without; a program may have set scales of its own.
void TrainingLoop::scale_losses() {
  for (const auto& network : task_.networks) {
    if (session_.precision() == device::Precision::float16 && !network.optimizer->loss_scale().defined())
      network.optimizer->scale_losses();
    const at::Tensor scale = network.optimizer->loss_scale();
    if (!scale.defined()) continue;
    network.engine->scale_losses_by(scale);
    losses_scaled_ = true;
  }
}

FitResult TrainingLoop::run() {
  if (session_.resume()) resume();
  session_.leave_if_stopped();                     // nothing was trained yet, and the folder is as it was
  const bool epoch_anew = state_.epoch_steps > 0;  // an epoch's record of this step was written too early
  observers_ = std::make_unique<RunObservers>(session_, session_.run_folder());
  observers_->start({.steps_per_epoch = plan_.length.steps_per_epoch,
                     .total_steps = plan_.length.total_steps + state_.unplanned_steps,
                     .epochs = plan_.length.epochs(),
                     .first_step = state_.step,
                     .epoch_anew = epoch_anew,
                     .samples = task_.options.samples},
                    describe());
  if (state_.step > 0)
    observers_->note(fmt::format("resumed at step {} (epoch {}{})", state_.step, state_.epoch + 1,
                                 state_.epoch_trained ? ", trained: its validation follows" : ""));
  for (const auto& network : task_.networks) network.engine->module().train();
  session_.leave_if_stopped();
  const OrderlyStop orderly;  // from here on a signal ends the step and saves
  const auto phase = session_.control().in_phase("training");
  exposed_before_ = total_exposed().value();
  loss_scale_ = smallest_loss_scale(task_.networks);
  choose_convolutions();
  if (validation_missing_) validate_within_epoch();
  result_.finished_early = agreed_wish_to_finish();
  while (!finished() && result_.finished_early.empty()) {
    run_epoch();
    finish_epoch();
  }
  if (!validation_) validation_ = judge();         // a run that was finished already
  if (finished()) result_.finished_early.clear();  // not early, after all
  snapshots_.upload_all();
  snapshots_.tidy_up();
  result_.epochs = state_.epoch;
  result_.steps = state_.step;
  result_.left_out_steps = state_.left_out;
  result_.validation = validation_;
  result_.run_folder = session_.run_folder().path();
  observers_->finish(result_);
  return result_;
}

void TrainingLoop::resume() {
  const auto snapshot = snapshots_.load_latest();
  if (!snapshot) return;
  Resumed resumed =
      resume_from(*snapshot, plan_, session_, session_.run_folder().path().string(), task_.networks, loader_);
  state_ = std::move(resumed.state);
  averages_.restore(snapshot->components);
  plan_.length = resumed.length;
  validation_missing_ = validation_due() && !snapshot->info.judged;
  for (const auto& remark : resumed.remarks) session_.logger().warning(remark);
  for (const auto& callback : task_.callbacks) {
    const auto found = snapshot->info.metadata.find(kCallbackPrefix + callback->name());
    if (!callback->name().empty() && found != snapshot->info.metadata.end()) callback->load(found->second);
  }
}

/// By the peak of its learning rates, not by where a resumed run stands.
RunDescription TrainingLoop::describe() {
  if (!session_.is_root()) return {};
  RunSession run{.samples = task_.options.samples, .first_step = state_.step, .before = {}};
  const auto file = session_.run_folder().description();
  if (run.first_step > 0 && std::filesystem::exists(file))
    Watching(session_.logger()).try_to("read run.json", [&] { run.before = read_text_file(file); });
  std::vector<double> now;
  for (const auto& network : task_.networks) now.push_back(network.optimizer->learning_rate());
  set_learning_rates(1);
  RunDescription description =
      describe_run(session_, plan_, task_.networks, *train_, valid_.get(), task_.options.metadata, run);
  for (std::size_t i = 0; i < now.size(); ++i) task_.networks[i].optimizer->set_learning_rate(now[i]);
  return description;
}

/// To the epoch's last step, or until the ranks agreed to finish early.
void TrainingLoop::run_epoch() {
  while (!state_.epoch_trained && result_.finished_early.empty()) {
    const auto start = Clock::now();
    const double seconds_before = state_.seconds;
    const bool writing = snapshots_.saving();
    const auto batch = next_batch();
    enqueue_step(*batch, seconds_since(start));
    if (convolutions_) finish_choosing();
    state_.seconds += seconds_since(start);
    settle(must_be_settled() ? 0 : run_ahead_);
    snapshots_.pacer().count_step(state_.seconds - seconds_before, writing);
  }
}

/// By what they take in the first step, so that a snapshot of any step goes on the same way. Deterministic runs keep to
/// cuDNN's.
void TrainingLoop::choose_convolutions() {
  if (session_.device().is_cpu() || at::globalContext().deterministicAlgorithms()) return;
  convolutions_.emplace(session_.control(), session_.logger(), session_.run_folder().convolutions());
  convolutions_->begin();
}

void TrainingLoop::finish_choosing() {
  convolutions_->finish();
  convolutions_.reset();
}

bool TrainingLoop::epoch_done() const noexcept {
  return all_steps_done() || state_.epoch_steps >= plan_.length.steps_per_epoch;
}

/// Whether the networks are looked at after the newest step, as all ranks know beforehand.
bool TrainingLoop::must_be_settled() const noexcept {
  return epoch_done() || validation_due() || snapshots_.planned(state_.step) || replicas_due();
}

bool TrainingLoop::validation_due() const noexcept {
  return settings_.validate_every > 0 && state_.step > 0 && state_.step % settings_.validate_every == 0 &&
         state_.epoch_steps > 0 && !epoch_done();
}

bool TrainingLoop::replicas_due() const noexcept {
  return settings_.check_replicas > 0 && state_.step % settings_.check_replicas == 0;
}

/// Until so many steps are left in flight; none if the ranks agreed that something is to be done.
void TrainingLoop::settle(std::size_t left) {
  Wishes wishes;
  while (in_flight_.size() > (wishes.any() ? 0 : left)) {
    const StepOutcome outcome = settle_oldest();
    observers_->step(outcome.event);
    alone([&] {
      for (const auto& callback : task_.callbacks) callback->on_step(outcome.event);
    });
    require_finite(outcome.event);
    wishes.add(outcome.wishes);
    if (wishes.halt.empty()) {
      wishes.halt = task_.options.halt_when ? task_.options.halt_when(outcome.event) : std::string();
      wishes.halt_step = outcome.event.step;
    }
  }
  act_on(wishes);
}

void TrainingLoop::act_on(const Wishes& wishes) {
  if (wishes.uploaded) snapshots_.finish_upload();
  if (wishes.commit) commit_snapshot(Commit::is_due);  // the loss of a later step was finite
  if (!wishes.halt.empty()) halt(wishes.halt, wishes.halt_step);
  if (wishes.halted) halt(agreed(wishes.of_rank.halt), state_.step);
  if (replicas_due())
    require_equal_replicas(session_.mesh().shape(), session_.control(), task_.networks, state_.step);
  state_.epoch_trained = epoch_done();
  if (wishes.finish) result_.finished_early = agreed(wishes.of_rank.finish);
  if (state_.epoch_trained) return;  // saved, and looked at for signals, by `finish_epoch`
  if ((validation_due() || wishes.validate) && result_.finished_early.empty()) validate_within_epoch();
  const bool wanted = wishes.stop || (wishes.save && result_.finished_early.empty());
  if (wanted && !snapshots_.holds(state_.step)) save();
  if (!wishes.stop) return;
  commit_snapshot();
  snapshots_.upload_all();
  session_.leave_if_stopped();
}

void TrainingLoop::Wishes::add(const Wishes& later) {
  stop = stop || later.stop;
  save = save || later.save;
  finish = finish || later.finish;
  validate = validate || later.validate;
  halted = halted || later.halted;
  commit = commit || later.commit;
  uploaded = uploaded || later.uploaded;
  if (of_rank.finish.empty()) of_rank.finish = later.of_rank.finish;
  if (of_rank.halt.empty()) of_rank.halt = later.of_rank.halt;
}

void TrainingLoop::synchronize_buffers() {
  for (auto& network : task_.networks) network.engine->synchronize_buffers(state_.unsynchronized_samples);
  state_.unsynchronized_samples = 0;
}

/// Saved before it is judged, as an epoch is: who goes on from there without a judgement validates first.
void TrainingLoop::validate_within_epoch() {
  last_end_.reset();
  if (!snapshots_.holds(state_.step)) {
    synchronize_buffers();
    save();
  }
  commit_snapshot();
  const auto found = judge();
  if (!found) return;
  alone([&] {
    for (const auto& callback : task_.callbacks) callback->on_validation(*found);
  });
  snapshots_.judge(state_.step,
                   {.metric = found->score, .metric_name = found->score_name, .metadata = callback_states()});
  keep_bundle(*found);
  observers_->validation({.step = state_.step, .epoch = state_.epoch, .result = *found});
}

/// The epoch is saved before it is judged: a kill, a stop or a fault in the validation costs the validation
/// alone. What it finds is added to the snapshot. An epoch that was finished early is judged as it is.
void TrainingLoop::finish_epoch() {
  const auto start = Clock::now();
  last_end_.reset();
  if (!state_.epoch_trained && !snapshots_.holds(state_.step))
    save();  // with the ranks' own buffers: who goes on from there is still in the epoch
  synchronize_buffers();
  if (!snapshots_.holds(state_.step)) save();
  commit_snapshot();
  report::EpochRow row = make_row();
  validation_ = judge();
  checkpoint::Judgement judgement;
  if (validation_) {
    if (validation_->loss) row.valid_loss = *validation_->loss;
    row.metrics = validation_->metrics;
    judgement.metric = validation_->score;
    judgement.metric_name = validation_->score_name;
  }
  result_.samples_per_second = row.samples_per_second;
  result_.train_loss = row.train_loss;
  row.seconds = state_.seconds + seconds_since(start);
  observers_->epoch(row, validation_ ? &*validation_ : nullptr);
  tell_bad();
  alone([&] {
    for (const auto& callback : task_.callbacks) {
      if (validation_) callback->on_validation(*validation_);
      callback->on_epoch(row);
    }
  });
  judgement.metadata = callback_states();
  snapshots_.judge(state_.step, judgement);
  keep_bundle(validation_.value_or(ValidationResult{}));
  if (const std::string reason = agreed(verdict().halt); !reason.empty()) halt(reason, state_.step);
  if (result_.finished_early.empty()) result_.finished_early = agreed_wish_to_finish();
  if (state_.epoch_trained) state_.start_next_epoch();
  if (finished() || !result_.finished_early.empty()) return;
  if (session_.agreed_stop()) snapshots_.upload_all();
  session_.leave_if_stopped();
}

/// Collective. The epoch's training, as far as it went.
report::EpochRow TrainingLoop::make_row() {
  report::EpochRow row{.epoch = state_.epoch + 1,
                       .epochs = plan_.length.epochs(),
                       .step = state_.step,
                       .train_loss = state_.loss_sum / std::max(state_.loss_count, 1.0),
                       .learning_rate = task_.networks.front().optimizer->learning_rate()};
  if (state_.timed_steps > 0) row.samples_per_second = samples_per_second();
  row.split = mean_split();
  row.loader = loader_split();
  row.bad_samples = state_.bad_samples;
  for (std::size_t i = 0; i < state_.term_names.size(); ++i)
    row.losses.push_back({state_.term_names[i], state_.term_sums[i] / std::max(state_.loss_count, 1.0)});
  return row;
}

std::optional<ValidationResult> TrainingLoop::judge() {
  if (!valid_loader_ || !judges()) return std::nullopt;
  const Averages::Exchanged averaged(averages_);
  const LogOfNoStep none(session_.step_log());
  try {
    return run_validation(session_,
                          {.networks = task_.networks,
                           .objective = task_.objective ? &task_.objective : nullptr,
                           .validation = task_.validation.get(),
                           .metrics = task_.metrics,
                           .weighted = settings_.weighted_validation},
                          *valid_loader_, [this](std::int64_t done, std::int64_t total) {
                            observers_->phase("validating", done, total);
                          });
  } catch (const NotFinite& found) {
    snapshots_.halt(fmt::format("after step {}: {}", state_.step, found.message()), state_.step);
  }
}

/// Of all callbacks of this rank.
Verdict TrainingLoop::verdict() const {
  Verdict all;
  for (const auto& callback : task_.callbacks) {
    Verdict one = callback->verdict();
    all.validate = all.validate || one.validate;
    all.save = all.save || one.save;
    if (all.finish.empty()) all.finish = std::move(one.finish);
    if (all.halt.empty()) all.halt = std::move(one.halt);
  }
  return all;
}

/// Collective. The reason of the first rank that has one.
std::string TrainingLoop::agreed(const std::string& reason) const {
  if (session_.control().all_max(!reason.empty()) == 0) return {};
  for (std::string& of_rank : session_.control().all_gather(reason))
    if (!of_rank.empty()) return of_rank;
  return {};
}

}  // namespace bunchtrain::train
