// SPDX-License-Identifier: Apache-2.0
/// One optimizer step of the training loop.
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "training_loop.hpp"
#include "validation_pass.hpp"

namespace bunchtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

/// Rows [begin, end) of a rank's share, for gradient accumulation.
data::Batch slice(const data::Batch& batch, std::int64_t begin, std::int64_t end) {
  data::Batch part = batch;
  part.tensors = {};
  for (const auto& [name, tensor] : batch.tensors) part.tensors.set(name, tensor.slice(0, begin, end));
  part.sample_ids = batch.sample_ids.slice(0, begin, end);
  return part;
}

}  // namespace

TrainingLoop::StepOutcome TrainingLoop::run_step(const data::Batch& batch) {
  StepEvent event{.step = state_.step + 1, .epoch = state_.epoch};
  const optim::ScheduleOptions schedule{.kind = settings_.schedule,
                                        .learning_rate = 1,
                                        .total_steps = plan_.length.schedule_steps,
                                        .steps_per_epoch = plan_.length.steps_per_epoch,
                                        .warmup_steps = settings_.warmup_steps};
  set_learning_rates(optim::learning_rate_at(schedule, state_.planned_step()));
  event.learning_rate = task_.networks.front().optimizer->learning_rate();
  loss_of_rank_ = exposed_ = 0;
  alone([&] { train_on(batch, event); });

  // One small collective per step carries the losses and the wishes to stop, to save and to finish, so that
  // all ranks do so at the same step.
  constexpr std::size_t kLoss = 3, kTerms = 4;
  const auto flag = [](bool wish) { return wish ? 1.0 : 0.0; };
  std::vector<double> of_rank = {flag(session_.stop_requested()), flag(snapshots_.due(state_.step + 1)),
                                 flag(!wish_to_finish().empty()), loss_of_rank_};
  for (const auto& term : terms_of_rank_) of_rank.push_back(term.value);
  const std::vector<double> sums = sum_over_ranks(std::move(of_rank));
  const auto global_samples = static_cast<double>(batch.global_size());
  event.loss = sums[kLoss] / global_samples;
  state_.term_sums.resize(terms_of_rank_.size());
  state_.term_names.clear();
  for (std::size_t i = 0; i < terms_of_rank_.size(); ++i) {
    event.terms.push_back({terms_of_rank_[i].name, sums[kTerms + i] / global_samples});
    state_.term_names.push_back(terms_of_rank_[i].name);
    state_.term_sums[i] += sums[kTerms + i];
  }

  state_.step += 1;
  state_.epoch_steps += 1;
  state_.loss_sum += sums[kLoss];
  state_.samples += global_samples;
  state_.timed_samples += global_samples;
  state_.timed_steps += 1;
  state_.unsynchronized_samples += batch.size();
  return {.event = event, .stop = sums[0] > 0, .save = sums[1] > 0, .finish = sums[2] > 0};
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
  // On a GPU looking at them would make the host wait for the backward pass.
  gradients_seen_ = session_.device().is_cpu() || settings_.clip_norm > 0;
  const auto update =
      network.optimizer->step({.clip_norm = settings_.clip_norm, .check_finite = gradients_seen_});
  if (gradients_seen_) event.gradient_norm = update.gradient_norm;
  update_applied_ = update.applied;
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

void TrainingLoop::set_learning_rates(double factor_of_peak) {
  for (std::size_t i = 0; i < task_.networks.size(); ++i)
    task_.networks[i].optimizer->set_learning_rate(plan_.peak_rates[i] * factor_of_peak);
}

double TrainingLoop::samples_per_second() const {
  return state_.seconds > 0 ? state_.timed_samples / state_.seconds : 0;
}

}  // namespace bunchtrain::train
