// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/result_sections.hpp"
#include "bunchtrain/report/table.hpp"
#include "bunchtrain/train/validation.hpp"
#include "named_parts.hpp"

namespace bunchtrain::train {
namespace {

std::vector<report::NamedValue> metrics_of(const metrics::RegressionSummary& summary) {
  std::vector<report::NamedValue> values = {{"valid_bias", summary.bias.value},
                                            {"valid_resolution", summary.half_width_68.value},
                                            {"valid_deviation", summary.deviation.value},
                                            {"valid_absolute_error", summary.absolute_error.value},
                                            {"valid_squared_error", summary.squared_error.value},
                                            {"valid_pull_mean", summary.pull_mean.value},
                                            {"valid_pull_width", summary.pull_width.value}};
  std::erase_if(values, [](const report::NamedValue& one) { return std::isnan(one.value); });
  return values;
}

class RegressionValidation final : public Validation {
 public:
  explicit RegressionValidation(RegressionValidationOptions options)
      : options_(std::move(options)), metrics_(options_.metrics) {
    expects(!options_.output.empty(),
            "the validation of a regression needs the name of the network's output");
    expects(!options_.target.empty(), "the validation of a regression needs the name of its target");
  }

  void add(const Batch& batch, const NamedTensors& outputs) override {
    metrics_.add(detail::output_of(outputs, options_.output), detail::target_of(batch, options_.target),
                 options_.width.empty() ? at::Tensor() : detail::output_of(outputs, options_.width));
  }

  ValidationResult finish(comm::Communicator& ranks, std::optional<double> loss) override {
    const auto result = metrics_.compute(ranks);
    metrics_.reset();
    ValidationResult found{.loss = loss, .metrics = metrics_of(result.summary)};
    if (const double resolution = result.summary.half_width_68.value; !std::isnan(resolution)) {
      found.score = -resolution;
      found.score_name = "negative valid_resolution";
    }
    found.sections = metrics::make_sections(
        result, {.target = options_.target, .unit = options_.unit, .relative = options_.metrics.relative},
        options_.origin);
    found.text = report::format_text(found.sections.front(), report::output_width());
    return found;
  }

  void discard() override { metrics_.reset(); }

 private:
  RegressionValidationOptions options_;
  metrics::RegressionMetrics metrics_;
};

}  // namespace

std::shared_ptr<Validation> make_regression_validation(RegressionValidationOptions options) {
  return std::make_shared<RegressionValidation>(std::move(options));
}

}  // namespace bunchtrain::train
