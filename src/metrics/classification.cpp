// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/classification.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "bunchtrain/comm/detail/gather_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "result_bytes.hpp"
#include "score_table.hpp"

namespace bunchtrain::metrics {
namespace {

at::Tensor to_host(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.detach().to(at::kCPU, dtype).contiguous();
}

std::span<double> row_of(at::Tensor& table, std::int64_t row) {
  return {table.data_ptr<double>() + row * table.size(1), static_cast<std::size_t>(table.size(1))};
}

/// What one pass over a batch's rows found wrong.
struct Faults {
  std::int64_t not_finite = 0;
  std::int64_t foreign_labels = 0;
  std::int64_t first_foreign = 0;

  void throw_if_any(std::int64_t samples, std::size_t classes) const {
    if (not_finite > 0) {
      throw NotFiniteScores(
          fmt::format("{} of {} samples have scores that are not finite: the training has diverged (lower "
                      "the learning rate) "
                      "or the inputs hold NaN",
                      not_finite, samples));
    }
    if (foreign_labels > 0) {
      throw DataError(
          fmt::format("{} of {} samples have a label outside the {} classes, the first one is {}; allowed "
                      "are 0 to {}, or -1 "
                      "for unknown",
                      foreign_labels, samples, classes, first_foreign, classes - 1));
    }
  }
};

/// Turns logits into probabilities in place; returns the log of their normalisation.
double softmax(std::span<double> logits) {
  const double greatest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double value : logits) sum += std::exp(value - greatest);
  const double normalisation = greatest + std::log(sum);
  for (double& value : logits) value = std::exp(value - normalisation);
  return normalisation;
}

/// The shape of one batch of scores with what belongs to it.
void check_shapes(const at::Tensor& scores, const at::Tensor& labels, const at::Tensor& weights,
                  std::size_t classes) {
  const auto fits = [&](const at::Tensor& t) { return t.dim() == 1 && t.size(0) == scores.size(0); };
  if (scores.dim() != 2 || scores.size(1) != static_cast<std::int64_t>(classes)) {
    throw ConfigError(fmt::format("scores must be [B, {}], one column per class", classes));
  }
  expects(fits(labels), "labels must be [B], one per row of scores");
  expects(!weights.defined() || fits(weights), "weights must be [B], one per row of scores");
}

}  // namespace

void ClassificationOptions::validate() const {
  if (classes.size() < 2) throw ConfigError("classes", std::to_string(classes.size()), "two names or more");
  const int count = static_cast<int>(classes.size());
  for (int signal : signals) {
    if (signal < 0 || signal >= count)
      throw ConfigError("signals", std::to_string(signal), fmt::format("0 to {}", count - 1));
  }
  for (double efficiency : signal_efficiencies) {
    const bool fine = efficiency > 0 && efficiency <= 1;
    if (!fine)
      throw ConfigError("signal_efficiencies", fmt::format("{}", efficiency), "numbers above 0 and up to 1");
  }
  if (max_roc_points < 4) throw ConfigError("max_roc_points", std::to_string(max_roc_points), "4 or more");
  if (calibration_bins < 1)
    throw ConfigError("calibration_bins", std::to_string(calibration_bins), "1 or more");
  if (histogram_bins < 1) throw ConfigError("histogram_bins", std::to_string(histogram_bins), "1 or more");
}

const Rejection& ClassificationResult::rejection(double signal_efficiency) const {
  std::string computed;
  if (!signals.empty()) {
    for (const Rejection& candidate : signals.front().rejections) {
      if (std::abs(candidate.target - signal_efficiency) < 1e-9) return candidate;
      computed += fmt::format("{}{}", computed.empty() ? "" : ", ", candidate.target);
    }
  }
  throw ConfigError("signal efficiency", fmt::format("{}", signal_efficiency),
                    computed.empty() ? "none was computed" : computed);
}

ClassificationMetrics::ClassificationMetrics(ClassificationOptions options) : options_(std::move(options)) {
  options_.validate();
}

void ClassificationMetrics::add_logits(const at::Tensor& logits, const at::Tensor& labels,
                                       const at::Tensor& weights) {
  append(logits, labels, weights, Kind::logits);
}

void ClassificationMetrics::add_scores(const at::Tensor& scores, const at::Tensor& labels,
                                       const at::Tensor& weights) {
  append(scores, labels, weights, Kind::probabilities);
}

void ClassificationMetrics::append(const at::Tensor& scores, const at::Tensor& labels,
                                   const at::Tensor& weights, Kind kind) {
  const std::size_t classes = options_.classes.size();
  check_shapes(scores, labels, weights, classes);
  const std::int64_t samples = scores.size(0);
  at::Tensor rows =
      at::empty({samples, static_cast<std::int64_t>(classes) + ScoreTable::kExtraColumns}, at::kDouble);
  rows.narrow(1, 0, scores.size(1)).copy_(to_host(scores, at::kDouble));
  const at::Tensor host_labels = to_host(labels, at::kLong);
  const at::Tensor host_weights = weights.defined() ? to_host(weights, at::kDouble) : at::Tensor();

  Faults faults;
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::span<double> row = row_of(rows, i), values = row.first(classes);
    const std::int64_t label = host_labels.data_ptr<std::int64_t>()[i];
    const bool finite = std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
    const bool foreign = label < -1 || label >= static_cast<std::int64_t>(classes);
    faults.not_finite += !finite;
    if (foreign && faults.foreign_labels++ == 0) faults.first_foreign = label;
    if (!finite || foreign) continue;

    const double raw = label >= 0 ? values[static_cast<std::size_t>(label)] : 0.0;
    double loss = 0;
    if (kind == Kind::logits) {
      loss = softmax(values) - raw;
    } else {
      loss = -std::log(std::max(raw, std::numeric_limits<double>::min()));
    }
    row[classes] = label >= 0 ? loss : 0.0;
    row[classes + 1] = static_cast<double>(label);
    row[classes + 2] = host_weights.defined() ? host_weights.data_ptr<double>()[i] : 1.0;
  }
  faults.throw_if_any(samples, classes);
  size_ += samples;
  rows_.push_back(std::move(rows));
}

void ClassificationMetrics::reset() {
  rows_.clear();
  size_ = 0;
}

at::Tensor ClassificationMetrics::all_rows() const {
  if (!rows_.empty()) return at::cat(rows_);
  return at::empty({0, static_cast<std::int64_t>(options_.classes.size()) + ScoreTable::kExtraColumns},
                   at::kDouble);
}

ClassificationResult ClassificationMetrics::evaluate_rows(const at::Tensor& rows) const {
  const std::span<const double> values(rows.data_ptr<double>(), static_cast<std::size_t>(rows.numel()));
  return evaluate(ScoreTable(values, static_cast<int>(options_.classes.size())), options_);
}

ClassificationResult ClassificationMetrics::compute() const { return evaluate_rows(all_rows()); }

/// One rank holds the rows of all and computes; the others get its result.
ClassificationResult ClassificationMetrics::compute(comm::Communicator& communicator) const {
  if (communicator.size() == 1) return compute();
  constexpr int kRoot = 0;
  const at::Tensor rows = comm::gather_rows(all_rows(), communicator, kRoot);
  std::string computed;
  communicator.control().together([&] {
    if (communicator.rank() == kRoot) computed = to_bytes(evaluate_rows(rows));
  });
  return from_bytes<ClassificationResult>(communicator.control().all_gather(computed)[kRoot]);
}

}  // namespace bunchtrain::metrics
