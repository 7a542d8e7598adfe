// SPDX-License-Identifier: Apache-2.0
#include "validation_pass.hpp"

#include <ATen/ops/tensor.h>
#include <torch/nn/module.h>

#include <cmath>
#include <exception>
#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::train {
namespace {

/// Modules in evaluation mode, back in training mode at the end.
class EvaluationMode {
 public:
  explicit EvaluationMode(std::span<const TrainedNetwork> networks) : networks_(networks) {
    for (const auto& network : networks_) network.engine->module().eval();
  }
  ~EvaluationMode() {
    for (const auto& network : networks_) network.engine->module().train();
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  std::span<const TrainedNetwork> networks_;
};

/// What the ranks tell one another after each batch: who was asked to stop, who failed. The sum travels while
/// the next batch is computed, so that nobody waits for it; it is known one batch later.
class BatchAgreement {
 public:
  explicit BatchAgreement(comm::Communicator ranks) : ranks_(std::move(ranks)) {}

  void tell(bool stop, bool failed) {
    shared_ = at::tensor({stop ? 1.0 : 0.0, failed ? 1.0 : 0.0}, at::kDouble);
    work_ = ranks_.all_reduce(shared_);
  }
  /// What was told last, by all.
  void hear() {
    if (!work_.valid()) return;
    work_.wait();
    work_ = {};
    stop_ = shared_.const_data_ptr<double>()[0] > 0;
    failed_ = shared_.const_data_ptr<double>()[1] > 0;
  }
  bool stop() const noexcept { return stop_; }
  bool failed() const noexcept { return failed_; }

 private:
  comm::Communicator ranks_;
  at::Tensor shared_;
  comm::Work work_;
  bool stop_ = false, failed_ = false;
};

/// Of all ranks; one rank's scores that are not finite make all throw that.
void throw_fault(const Session& session, const std::exception_ptr& fault) {
  bool not_finite = false;
  try {
    if (fault) std::rethrow_exception(fault);
  } catch (const metrics::NotFiniteScores&) {
    not_finite = true;
  } catch (...) {  // told below
  }
  const bool anywhere = session.control().all_max(not_finite) > 0;
  try {
    session.control().together([&] {
      if (fault) std::rethrow_exception(fault);
    });
  } catch (const DataError& error) {
    if (anywhere) throw NotFinite(error.message());
    throw;
  }
}

/// The objective over the samples or elements of this rank.
class MeanLoss {
 public:
  /// @param count of what the loss is a mean over; a mean over none may be NaN and counts nothing.
  void add(const at::Tensor& loss, std::int64_t count) {
    if (count == 0) return;
    sum_ += loss.item<double>() * static_cast<double>(count);
    count_ += static_cast<double>(count);
  }
  /// Collective. Over those of all ranks; none if there are none.
  std::optional<double> over(comm::Communicator& ranks) const {
    at::Tensor sums = at::tensor({sum_, count_}, at::kDouble);
    ranks.all_reduce(sums).wait();
    const double* total = sums.const_data_ptr<double>();
    return total[1] > 0 ? std::optional(total[0] / total[1]) : std::nullopt;
  }

 private:
  double sum_ = 0, count_ = 0;
};

struct Found {
  MeanLoss loss;
  SampleMetricSums metrics;
};

Batch without_weights(const Batch& batch) {
  Batch plain = batch;
  plain.tensors = {};
  for (const auto& [name, tensor] : batch.tensors)
    if (name != "weight") plain.tensors.set(name, tensor);
  return plain;
}

void evaluate(const ValidationTask& task, const Batch& batch, Found& found) {
  NamedTensors outputs;
  if (task.objective) {
    parallel::Evaluation evaluation = task.networks.front().engine->evaluate(
        task.weighted ? batch : without_weights(batch), *task.objective);
    found.loss.add(evaluation.losses.total, task.objective->count(batch));
    outputs = std::move(evaluation.outputs);
  }
  if (task.validation) task.validation->add(batch, outputs);
  found.metrics.add(outputs, batch);
}

/// One batch of this rank's share; the last call of a pass, which finds none, moves the
/// loader to its next epoch.
std::exception_ptr add_next(const Session& session, const ValidationTask& task, Found& found,
                            data::DataLoader& loader) {
  try {
    auto batch = loader.next();
    if (!batch || batch->size() == 0) return nullptr;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    const nn::StepContext context(session.seed(), 0, batch->sample_ids);  // every validation draws alike
    evaluate(task, in_precision(std::move(*batch), session.precision()), found);
    return nullptr;
  } catch (const CommError&) {
    throw;
  } catch (...) {
    return std::current_exception();
  }
}

/// Without a validation of its own a run is judged by its loss.
ValidationResult of_loss(double loss) {
  return {.loss = loss, .score = -loss, .score_name = "negative valid_loss"};
}

}  // namespace

Batch in_precision(Batch batch, device::Precision precision) {
  if (precision != device::Precision::float64) return batch;
  NamedTensors converted;
  for (const auto& [name, tensor] : batch.tensors)
    converted.set(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  batch.tensors = std::move(converted);
  return batch;
}

ValidationResult run_validation(Session& session, const ValidationTask& task, data::DataLoader& loader,
                                const std::function<void(std::int64_t, std::int64_t)>& on_batch) {
  const at::NoGradGuard no_gradients;
  const EvaluationMode evaluation(task.networks);
  const auto phase = session.control().in_phase("validating");
  const std::int64_t batches = loader.steps_per_epoch();  // the same on all ranks
  const auto discard = [&] {
    if (task.validation) task.validation->discard();
  };
  BatchAgreement ranks(session.agreement());
  Found of_rank{.loss = {}, .metrics = SampleMetricSums(task.metrics)};
  std::exception_ptr fault;
  for (std::int64_t done = 0; done <= batches; ++done) {
    if (!fault) fault = add_next(session, task, of_rank, loader);
    if (on_batch && done < batches) on_batch(done + 1, batches);
    ranks.hear();
    if (ranks.failed()) break;
    if (ranks.stop()) {
      discard();
      session.leave_if_stopped();
    }
    ranks.tell(session.stop_requested(), fault != nullptr);
  }
  ranks.hear();
  if (ranks.failed()) {
    discard();
    throw_fault(session, fault);
  }
  comm::Communicator replicas = session.agreement(comm::Axis::data);
  const std::optional<double> mean = task.objective ? of_rank.loss.over(replicas) : std::nullopt;
  ValidationResult found;
  if (task.validation) {
    found = task.validation->finish(replicas, mean);
  } else if (task.objective) {
    found = of_loss(mean.value_or(0));
  }
  if (mean) found.loss = mean;
  of_rank.metrics.finish(replicas, found);
  if (found.loss && !std::isfinite(*found.loss)) throw NotFinite("the loss of the validation is not finite");
  return found;
}

}  // namespace bunchtrain::train
