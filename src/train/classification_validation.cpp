// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {
namespace {

class ClassificationValidation final : public Validation {
 public:
  ClassificationValidation(Step step, metrics::ClassificationOptions options)
      : step_(std::move(step)), options_(std::move(options)), metrics_(options_) {}

  void add(const data::Batch& batch) override { metrics_.add_logits(step_(batch).outputs, batch["label"]); }

  ValidationResult finish(comm::Communicator& ranks) override {
    auto result = metrics_.compute(ranks);
    metrics_ = metrics::ClassificationMetrics(options_);
    ValidationResult found{
        .loss = result.loss, .score = result.auc, .score_name = "valid_auc", .text = format_results(result)};
    found.metrics = {{"valid_accuracy", result.accuracy}, {"valid_auc", result.auc}};
    if (result.classes.size() == 2)
      found.metrics.push_back({"valid_rejection_50", result.rejection(0.5).value});
    found.classification = std::move(result);
    return found;
  }

  void discard() override { metrics_.reset(); }

 private:
  Step step_;
  metrics::ClassificationOptions options_;
  metrics::ClassificationMetrics metrics_;
};

}  // namespace

std::shared_ptr<Validation> make_classification_validation(Step step,
                                                           metrics::ClassificationOptions options) {
  return std::make_shared<ClassificationValidation>(std::move(step), std::move(options));
}

}  // namespace bunchtrain::train
