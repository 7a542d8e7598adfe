// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "bunchtrain/metrics/result_sections.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/validation.hpp"
#include "named_parts.hpp"

namespace bunchtrain::train {
namespace {

class ClassificationValidation final : public Validation {
 public:
  ClassificationValidation(metrics::ClassificationOptions options, ClassificationTarget names)
      : options_(std::move(options)), names_(std::move(names)), metrics_(options_) {}

  void add(const Batch& batch, const NamedTensors& outputs) override {
    metrics_.add_logits(detail::output_of(outputs, names_.output), detail::label_of(batch, names_.label));
  }

  ValidationResult finish(comm::Communicator& ranks, std::optional<double> loss) override {
    auto result = metrics_.compute(ranks);
    if (loss) result.loss = *loss;
    metrics_ = metrics::ClassificationMetrics(options_);
    ValidationResult found{.loss = result.loss, .text = format_results(result)};
    if (!std::isnan(result.accuracy)) found.metrics = {{"valid_accuracy", result.accuracy}};
    if (!std::isnan(result.auc)) {
      found.score = result.auc;
      found.score_name = score_name(result);
      found.metrics.push_back({"valid_auc", result.auc});
    }
    if (has_one_signal(result) && !std::isnan(result.auc))
      found.metrics.push_back({"valid_rejection_50", result.rejection(0.5).value});
    found.sections = metrics::make_sections(result, {});
    return found;
  }

  void discard() override { metrics_.reset(); }

 private:
  /// Two classes have one signal, more of them if the card names it: its rejection of all others is quoted.
  bool has_one_signal(const metrics::ClassificationResult& result) const {
    return result.classes.size() == 2 || options_.signals.size() == 1;
  }

  /// Of several classes it may be the AUC of one signal or, as always in version 0.1, the mean over all:
  /// these cannot be compared.
  std::string score_name(const metrics::ClassificationResult& result) const {
    if (result.classes.size() == 2 || !has_one_signal(result)) return "valid_auc";
    return "valid_auc of " + result.classes[static_cast<std::size_t>(options_.signals.front())];
  }

  metrics::ClassificationOptions options_;
  ClassificationTarget names_;
  metrics::ClassificationMetrics metrics_;
};

}  // namespace

std::shared_ptr<Validation> make_classification_validation(metrics::ClassificationOptions options,
                                                           ClassificationTarget names) {
  return std::make_shared<ClassificationValidation>(std::move(options), std::move(names));
}

}  // namespace bunchtrain::train
