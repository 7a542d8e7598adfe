// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/tensor.h>

#include <cmath>

#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {
namespace {

Batch without_weights(const Batch& batch) {
  Batch plain = batch;
  plain.tensors = {};
  for (const auto& [name, tensor] : batch.tensors)
    if (name != "weight") plain.tensors.set(name, tensor);
  return plain;
}

class ClassificationValidation final : public Validation {
 public:
  ClassificationValidation(Step step, metrics::ClassificationOptions options, ValidationWeights weights)
      : step_(std::move(step)), options_(std::move(options)), weights_(weights), metrics_(options_) {}

  void add(const Batch& batch) override {
    const StepResult result = step_(weights_ == ValidationWeights::none ? without_weights(batch) : batch);
    if (result.loss.defined() && result.samples > 0) {
      loss_sum_ += result.loss.item<double>() * static_cast<double>(result.samples);
      samples_ += static_cast<double>(result.samples);
    }
    metrics_.add_logits(result.outputs, batch["label"]);
  }

  ValidationResult finish(comm::Communicator& ranks) override {
    auto result = metrics_.compute(ranks);
    result.loss = mean_loss(ranks, result.loss);
    metrics_ = metrics::ClassificationMetrics(options_);
    ValidationResult found{.loss = result.loss, .text = format_results(result)};
    if (!std::isnan(result.accuracy)) found.metrics = {{"valid_accuracy", result.accuracy}};
    if (!std::isnan(result.auc)) {
      found.score = result.auc;
      found.score_name = "valid_auc";
      found.metrics.push_back({"valid_auc", result.auc});
    }
    if (has_one_signal(result) && !std::isnan(result.auc))
      found.metrics.push_back({"valid_rejection_50", result.rejection(0.5).value});
    found.classification = std::move(result);
    return found;
  }

  void discard() override {
    metrics_.reset();
    loss_sum_ = samples_ = 0;
  }

 private:
  /// Two classes have one signal, more of them if the card names it: its rejection of all others is quoted.
  bool has_one_signal(const metrics::ClassificationResult& result) const {
    return result.classes.size() == 2 || options_.signals.size() == 1;
  }

  /// Collective. The step's own loss over the samples of all ranks: the quantity that training minimises.
  double mean_loss(comm::Communicator& ranks, double cross_entropy) {
    at::Tensor sums = at::tensor({loss_sum_, samples_}, at::kDouble);
    loss_sum_ = samples_ = 0;
    ranks.all_reduce(sums).wait();
    const double* total = sums.const_data_ptr<double>();
    return total[1] > 0 ? total[0] / total[1] : cross_entropy;
  }

  Step step_;
  metrics::ClassificationOptions options_;
  ValidationWeights weights_;
  metrics::ClassificationMetrics metrics_;
  double loss_sum_ = 0, samples_ = 0;  // of this rank
};

}  // namespace

std::shared_ptr<Validation> make_classification_validation(Step step, metrics::ClassificationOptions options,
                                                           ValidationWeights weights) {
  return std::make_shared<ClassificationValidation>(std::move(step), std::move(options), weights);
}

}  // namespace bunchtrain::train
