// SPDX-License-Identifier: Apache-2.0
/// One optimizer step of the training loop.
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <sstream>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/ops/index_faults.hpp"
#include "training_loop.hpp"
#include "validation_pass.hpp"

namespace bunchtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

void append_sums(const std::vector<std::string>& names, const std::vector<LoggedSum>& of_rank,
                 std::vector<double>& sums) {
  for (const std::string& name : names) {
    const auto found = std::ranges::find(of_rank, name, &LoggedSum::name);
    sums.push_back(found == of_rank.end() ? 0 : found->sum);
    sums.push_back(found == of_rank.end() ? 0 : found->count);
  }
}

/// Of those that some rank has logged in this step.
std::vector<report::NamedValue> means(const std::vector<std::string>& names, std::span<const double> sums) {
  std::vector<report::NamedValue> values;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (sums[2 * i + 1] > 0) values.push_back({names[i], sums[2 * i] / sums[2 * i + 1]});
  return values;
}

std::string joined_names(const std::vector<LoggedSum>& logged) {
  std::string names;
  for (const LoggedSum& one : logged) names += one.name + ' ';
  return names;
}

constexpr std::int64_t kMostLeftOut = 100;  ///< steps in a row, of `--check-finite skip`
/// Gradients that a loss as it is makes infinite: it was not the scale.
constexpr double kLeastLossScale = 1;

/// Undefined where the optimizer finds it by itself, on its way.
at::Tensor norm_for(const TrainedNetwork& network) {
  const bool is_own = network.engine->is_whole() && network.optimizer->owns_all();
  return is_own ? at::Tensor() : network.engine->gradient_norm();
}

}  // namespace

void TrainingLoop::enqueue_step(const Batch& batch, double data_seconds) {
  StepInFlight step{
      .event = {.step = state_.step + 1, .epoch = state_.epoch},
      .samples = batch.size(),
      .global_samples = batch.global_size(),
      .bad_samples = batch.bad_samples,
      .global_count = task_.objective ? task_.objective.global_count(batch) : batch.global_size(),
      .data_seconds = data_seconds};
  const optim::ScheduleOptions schedule{.kind = settings_.schedule,
                                        .learning_rate = 1,
                                        .total_steps = plan_.length.schedule_steps,
                                        .steps_per_epoch = plan_.length.steps_per_epoch,
                                        .warmup_steps = settings_.warmup_steps};
  set_learning_rates(optim::learning_rate_at(schedule, state_.planned_step()));
  step.event.learning_rate = task_.networks.front().optimizer->learning_rate();
  alone([&] { train_on(batch, step); });
  step.log = std::exchange(session_.step_log(), {});
  if (!step.log.empty()) captured_.object("its objective or network logs numbers of each step");
  in_flight_.push_back(std::move(step));
  state_.step += 1;
  state_.epoch_steps += 1;
  state_.unsynchronized_samples += batch.size();
}

/// Collective. One small collective per step carries the losses, of each replica once, and the wishes of all ranks to
/// stop, to save and to finish, so that all do so at the same step.
TrainingLoop::StepOutcome TrainingLoop::settle_oldest() {
  const auto start = Clock::now();
  const StepInFlight step = std::move(in_flight_.front());
  in_flight_.pop_front();
  StepEvent event = step.event;
  std::vector<LoggedSum> logged;
  const RankLosses of_rank = alone([&] {
    const RankLosses losses = step.losses();
    if (!step.index_faults.empty()) ops::require_no_index_faults(step.index_faults.values());
    gradients_seen_ = step.update.has_value() || !step.loss_scales.empty();
    update_applied_ = !step.update || step.update->applied();
    if (step.update) event.gradient_norm = step.update->gradient_norm();
    event.loss_scale = step.loss_scale();
    logged = step.log.sums();
    count_times(step);
    return losses;
  });

  constexpr std::size_t kLoss = 7, kBad = 8, kTerms = 9;
  const auto flag = [](bool wish) { return wish ? 1.0 : 0.0; };
  const double counts = flag(session_.mesh().leads(comm::Axis::data));
  const Verdict wanted = verdict();
  std::vector<double> mine = {flag(session_.stop_requested()),
                              flag(wanted.save || snapshots_.due(event.step)),
                              flag(!wanted.finish.empty()),
                              flag(wanted.validate),
                              flag(!wanted.halt.empty()),
                              flag(snapshots_.writing()),
                              flag(snapshots_.copying()),
                              counts * of_rank.loss,
                              counts * static_cast<double>(step.bad_samples)};
  for (const auto& term : of_rank.terms) mine.push_back(counts * term.value);
  append_logged(logged, mine);
  const std::vector<double> sums = sum_over_ranks(std::move(mine));
  event.logged = read_logged(logged, std::span(sums).subspan(kTerms + of_rank.terms.size()));
  const auto count = static_cast<double>(step.global_count);
  const auto mean = [count](double sum) { return sum / std::max(count, 1.0); };  // of no elements: 0
  event.loss = mean(sums[kLoss]);
  state_.term_sums.resize(of_rank.terms.size());
  state_.term_names.clear();
  for (std::size_t i = 0; i < of_rank.terms.size(); ++i) {
    event.terms.push_back({of_rank.terms[i].name, mean(sums[kTerms + i])});
    state_.term_names.push_back(of_rank.terms[i].name);
  }
  if (is_finite(event)) {  // else the run ends, or goes on without this step
    for (std::size_t i = 0; i < of_rank.terms.size(); ++i) state_.term_sums[i] += sums[kTerms + i];
    state_.loss_sum += sums[kLoss];
    state_.loss_count += count;
  }
  count_bad(static_cast<std::int64_t>(sums[kBad]));
  state_.timed_samples += static_cast<double>(step.global_samples);
  state_.timed_steps += 1;
  state_.seconds += seconds_since(start);
  event.samples_per_second = samples_per_second();
  return {.event = event,
          .wishes = {.stop = sums[0] > 0,
                     .save = sums[1] > 0,
                     .finish = sums[2] > 0,
                     .validate = sums[3] > 0,
                     .halted = sums[4] > 0,
                     .commit = snapshots_.saving() && sums[5] == 0,
                     .uploaded = snapshots_.uploading() && sums[6] == 0,
                     .of_rank = wanted}};
}

/// Sum and count of every name that the ranks know, after a flag of those that this rank alone knows yet.
void TrainingLoop::append_logged(const std::vector<LoggedSum>& of_rank, std::vector<double>& sums) const {
  const bool all_known = std::ranges::all_of(of_rank, [&](const LoggedSum& logged) {
    return std::ranges::find(logged_names_, logged.name) != logged_names_.end();
  });
  sums.push_back(all_known ? 0 : 1);
  append_sums(logged_names_, of_rank, sums);
}

/// Collective only if a rank has a name that is new: then the ranks tell each other their names.
std::vector<report::NamedValue> TrainingLoop::read_logged(const std::vector<LoggedSum>& of_rank,
                                                          std::span<const double> sums) {
  std::vector<report::NamedValue> values = means(logged_names_, sums.subspan(1));
  if (sums[0] == 0) return values;
  std::vector<std::string> added;
  for (const std::string& names : session_.control().all_gather(joined_names(of_rank))) {
    std::istringstream stream(names);
    for (std::string name; stream >> name;)
      if (std::ranges::find(logged_names_, name) == logged_names_.end()) {
        logged_names_.push_back(name);
        added.push_back(name);
      }
  }
  std::vector<double> mine;
  append_sums(added, of_rank, mine);
  at::Tensor shared = at::tensor(mine, at::kDouble);
  session_.agreement().all_reduce(shared).wait();
  for (auto& value : means(added, {shared.const_data_ptr<double>(), mine.size()}))
    values.push_back(std::move(value));
  return values;
}

device::LateSeconds TrainingLoop::total_exposed() const {
  device::LateSeconds total;
  for (const auto& network : task_.networks) total.add(network.engine->total_exposed());
  return total;
}

/// A GPU that is behind the host waits less for data than the host does, and waits for the host besides.
void TrainingLoop::count_times(const StepInFlight& step) {
  const double total = step.total_exposed.value();
  exposed_ = total - std::exchange(exposed_before_, total);
  double waited = step.data_seconds;
  if (session_.device().is_cuda() && last_end_) {
    const double gap = step.begin->seconds_since(*last_end_);
    waited = std::min(waited, gap);
    state_.split.idle += gap - waited;
  }
  last_end_ = step.end;
  if (step.host_seconds > 0) captured_.note_eager(step.host_seconds, step.end->seconds_since(*step.begin));
  state_.split.data += waited;
  // Collectives run within the one or the other.
  (task_.manual_step ? state_.split.forward : state_.split.backward) -= exposed_;
  state_.split.forward += step.forward.value();
  state_.split.backward += step.backward.value();
  state_.split.optimizer += step.optimizer.value();
}

/// Collective. The seconds that the ranks spent on gradients travel too: the rank that came last waited for
/// nobody, so that its time is the collectives' own, and what the others have above it is waiting. A GPU goes
/// on while its host waits for the others' numbers.
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
  state_.split.idle += exposed_ - communication;
  if (session_.device().is_cpu()) state_.split.idle += seconds_since(start);
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

/// Collective. Of the pass through the data that the epoch ends in: what the slowest rank waited, and the work of all.
report::LoaderSplit TrainingLoop::loader_split() {
  const data::LoaderStatistics& own = loader_.statistics();
  at::Tensor longest = at::tensor({own.wait_p50, own.wait_p99, own.fetch.p50, own.fetch.p99, own.decode.p50,
                                   own.decode.p99, own.assemble.p50, own.assemble.p99},
                                  at::kDouble);
  at::Tensor work =
      at::tensor({own.fetch_seconds, own.decode_seconds, own.assemble_seconds, own.processor_seconds,
                  static_cast<double>(own.bytes_fetched), static_cast<double>(own.bytes_decoded),
                  static_cast<double>(own.bytes_delivered), static_cast<double>(own.elements),
                  static_cast<double>(own.slots)},
                 at::kDouble);
  session_.agreement().all_reduce(longest, comm::ReduceOp::max).wait();
  session_.agreement().all_reduce(work).wait();
  const double* most = longest.const_data_ptr<double>();
  const double* sum = work.const_data_ptr<double>();
  data::LoaderStatistics all;
  all.fetch_seconds = sum[0];
  all.decode_seconds = sum[1];
  all.assemble_seconds = sum[2];
  all.processor_seconds = sum[3];
  all.bytes_decoded = static_cast<std::int64_t>(sum[5]);
  all.bytes_delivered = static_cast<std::int64_t>(sum[6]);
  if (all.bytes_delivered == 0) return {};
  return {.wait_p50 = most[0],
          .wait_p99 = most[1],
          .fetch_p50 = most[2],
          .fetch_p99 = most[3],
          .decode_p50 = most[4],
          .decode_p99 = most[5],
          .assemble_p50 = most[6],
          .assemble_p99 = most[7],
          .bytes_fetched = sum[4],
          .read_amplification = all.read_amplification(),
          .processor_seconds_per_gb = all.processor_seconds_per_gb(),
          .padding = sum[7] > 0 ? sum[8] / sum[7] : report::LoaderSplit::kUnknown,
          .slowest_stage = std::string(all.slowest_stage())};
}

void TrainingLoop::train_on(const Batch& batch, StepInFlight& step) {
  const device::PrecisionGuard precision(session_.precision(), session_.device().type());
  const Batch ready = in_precision(batch, session_.precision());
  step.begin.emplace(session_.device());
  step_number_.write(state_.step);
  if (task_.manual_step) {
    run_manual_step(ready, step);
  } else {
    run_passes(ready, step);
  }
  for (const auto& network : task_.networks)
    if (const at::Tensor scale = network.optimizer->loss_scale(); scale.defined())
      step.loss_scales.emplace_back(scale);
  if (session_.device().is_cuda()) step.index_faults = device::LateCopy(ops::index_faults(session_.device()));
  step.end.emplace(session_.device());
  step.total_exposed = total_exposed();
}

void TrainingLoop::run_passes(const Batch& batch, StepInFlight& step) {
  auto& network = task_.networks.front();
  const optim::StepOptions update{.clip_norm = settings_.clip_norm,
                                  .check_finite = true,
                                  .average = averages_.of(0),
                                  .counts_left_out = settings_.check_finite == CheckFinite::stop};
  if (run_captured(batch, update, step)) return;
  const auto start = Clock::now();
  const std::int64_t passes = settings_.accumulate;
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const Batch part =
        passes == 1 ? batch
                    : slice_samples(batch, batch.size() * pass / passes, batch.size() * (pass + 1) / passes);
    const nn::StepContext context(session_.seed(), state_.step, part.sample_ids, step_number_.tensor());
    const parallel::PassResult result = network.engine->run({.batch = part,
                                                             .objective = task_.objective,
                                                             .global_samples = batch.global_size(),
                                                             .first = pass == 0,
                                                             .last = pass + 1 == passes});
    step.forward.add(result.forward);
    step.backward.add(result.backward);
    step.passes.emplace_back(result);
  }
  const device::Moment begin(session_.device());
  network.engine->finish();
  const device::Moment finished(session_.device());
  optim::StepOptions with_norm = update;
  with_norm.gradient_norm = norm_for(network);
  step.host_seconds = seconds_since(start);  // without the update, which may wait for that of the step before
  step.update = network.optimizer->step(with_norm);
  step.backward.add(begin, finished);
  step.optimizer.add(finished, device::Moment(session_.device()));
}

/// The time of such a step is all of forward: nobody looks into it.
bool TrainingLoop::run_captured(const Batch& batch, const optim::StepOptions& update, StepInFlight& step) {
  const TrainedNetwork& network = task_.networks.front();
  if (settings_.accumulate > 1) captured_.give_up("a step has several passes");
  const device::Moment begin(session_.device());
  const auto result = captured_.run({.network = network,
                                     .objective = task_.objective,
                                     .batch = batch,
                                     .update = update,
                                     .seed = session_.seed(),
                                     .number = state_.step,
                                     .number_in_memory = step_number_.tensor()});
  if (!result) return false;
  step.passes.emplace_back(*result);
  step.update = network.optimizer->conclude();
  step.forward.add(begin, device::Moment(session_.device()));
  return true;
}

void TrainingLoop::run_manual_step(const Batch& batch, StepInFlight& step) {
  captured_.give_up("the program makes its steps by itself");
  const nn::StepContext context(session_.seed(), state_.step, batch.sample_ids, step_number_.tensor());
  step.terms = task_.manual_step(batch);
  averages_.update();
  expects(!step.terms.empty(), "a manual step returns at least one loss term");
  step.forward.add(*step.begin, device::Moment(session_.device()));
}

void TrainingLoop::set_learning_rates(double factor_of_peak) {
  for (std::size_t i = 0; i < task_.networks.size(); ++i)
    task_.networks[i].optimizer->set_learning_rate(plan_.peak_rates[i] * factor_of_peak);
}

double TrainingLoop::samples_per_second() const {
  return state_.seconds > 0 ? state_.timed_samples / state_.seconds : 0;
}

/// Loss and gradients are those of the weights before the step. Gradients that nobody saw (of a manual step)
/// may have been lost one step earlier: a snapshot of then is blamed if the run failed again right after it.
std::int64_t TrainingLoop::unseen_steps() const {
  return !gradients_seen_ && snapshots_.newest_was_loaded() ? 1 : 0;
}

/// Steps that make the scale fall leave the weights as they are: if the gradients stay infinite whatever the scale, it
/// is the weights before the first of them that are lost.
void TrainingLoop::follow_loss_scale(const StepEvent& event) {
  const bool fell = event.loss_scale < loss_scale_;
  if (!fell) first_fall_ = 0;
  if (fell && first_fall_ == 0) first_fall_ = event.step;
  loss_scale_ = event.loss_scale;
}

void TrainingLoop::require_finite(const StepEvent& event) {
  if (losses_scaled_) follow_loss_scale(event);
  const bool finite = is_finite(event);
  // A scaled step that is left out is tried again with a smaller scale.
  const bool applied = losses_scaled_ ? event.loss_scale >= kLeastLossScale : update_applied_;
  if (finite && applied) {
    state_.left_out_in_row = 0;
    return;
  }
  if (settings_.check_finite == CheckFinite::skip && !update_applied_) return leave_out(event);
  const char* remark = finite && losses_scaled_ ? ", whatever the loss is scaled with" : "";
  snapshots_.halt(fmt::format("the {} not finite at step {}{} (learning rate {:.3g})",
                              finite ? "gradients are" : "loss is", event.step, remark, event.learning_rate),
                  (first_fall_ > 0 ? first_fall_ : event.step) - 1 - unseen_steps());
}

/// The optimizer has left the step out on all ranks.
void TrainingLoop::leave_out(const StepEvent& event) {
  ++state_.left_out;
  ++state_.left_out_in_row;
  if (state_.left_out_in_row >= kMostLeftOut)
    snapshots_.halt(
        fmt::format("{} steps in a row were left out, the last of them step {}: their gradients are "
                    "not finite",
                    state_.left_out_in_row, event.step),
        event.step - state_.left_out_in_row);
  if (session_.is_root())
    session_.logger().warning(fmt::format("step {} is left out: its gradients are not finite ({} so far)",
                                          event.step, state_.left_out));
}

}  // namespace bunchtrain::train
