// SPDX-License-Identifier: Apache-2.0
#include "score_table.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace bunchtrain::metrics {
namespace {

constexpr int kRest = -1;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

int predicted_class(const ScoreTable& table, std::int64_t row) {
  int best = 0;
  for (int c = 1; c < table.classes(); ++c) {
    if (table.score(row, c) > table.score(row, best)) best = c;
  }
  return best;
}

/// Rows in an order that their values alone decide: sums over them round alike, however ranks shared them.
std::vector<std::int64_t> canonical_order(const ScoreTable& table) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(table.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::ranges::sort(order, [&](std::int64_t a, std::int64_t b) {
    return std::ranges::lexicographical_compare(table.row(a), table.row(b));
  });
  return order;
}

void add_totals(const ScoreTable& table, const std::vector<std::int64_t>& order,
                ClassificationResult& result) {
  double weights = 0, correct = 0, loss = 0;
  for (const std::int64_t row : order) {
    const int label = table.label(row);
    if (label < 0) {
      ++result.unlabelled;
      continue;
    }
    ++result.samples;
    ++result.class_counts[static_cast<std::size_t>(label)];
    weights += table.weight(row);
    loss += table.weight(row) * table.loss(row);
    if (predicted_class(table, row) == label) correct += table.weight(row);
  }
  result.loss = weights > 0 ? loss / weights : kNaN;
  result.accuracy = weights > 0 ? correct / weights : kNaN;
}

// Between two of several classes the likelihood ratio decides, whatever the others got.
double discriminant(const ScoreTable& table, std::int64_t row, int signal, int background) {
  const double s = table.score(row, signal);
  if (background == kRest) return s;
  const double sum = s + table.score(row, background);
  return sum > 0 ? s / sum : 0.0;
}

SignalResult evaluate_signal(const ScoreTable& table, int signal, int background,
                             const ClassificationOptions& options) {
  std::vector<double> scores, weights;
  std::vector<std::uint8_t> is_signal;
  for (std::int64_t row = 0; row < table.size(); ++row) {
    const int label = table.label(row);
    if (label < 0 || (background != kRest && label != signal && label != background)) continue;
    scores.push_back(discriminant(table, row, signal, background));
    weights.push_back(table.weight(row));
    is_signal.push_back(label == signal);
  }
  const Roc roc(scores, is_signal, weights);
  SignalResult result{
      .signal = signal, .background = background, .auc = roc.auc(), .rejections = {}, .roc = {}};
  for (double efficiency : options.signal_efficiencies)
    result.rejections.push_back(roc.rejection_at(efficiency));
  result.roc = roc.thinned(options.max_roc_points);
  return result;
}

std::vector<int> signals_of(const ClassificationOptions& options) {
  if (!options.signals.empty()) return options.signals;
  if (options.classes.size() == 2) return {1};
  std::vector<int> all(options.classes.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

double mean_auc_against_rest(const std::vector<SignalResult>& signals) {
  double sum = 0;
  int count = 0;
  for (const SignalResult& signal : signals) {
    if (signal.background != kRest || std::isnan(signal.auc)) continue;
    sum += signal.auc;
    ++count;
  }
  return count > 0 ? sum / count : kNaN;
}

ScoreDistribution make_distribution(const ScoreTable& table, const std::vector<std::int64_t>& order,
                                    int score, int bins) {
  ScoreDistribution distribution{.score = score, .counts = {}};
  distribution.counts.assign(static_cast<std::size_t>(table.classes()),
                             std::vector<double>(static_cast<std::size_t>(bins)));
  for (const std::int64_t row : order) {
    if (table.label(row) < 0) continue;
    const int bin = std::clamp(static_cast<int>(table.score(row, score) * bins), 0, bins - 1);
    distribution.counts[static_cast<std::size_t>(table.label(row))][static_cast<std::size_t>(bin)] +=
        table.weight(row);
  }
  return distribution;
}

ConfusionMatrix make_confusion(const ScoreTable& table, const std::vector<std::int64_t>& order) {
  const auto classes = static_cast<std::size_t>(table.classes());
  ConfusionMatrix matrix{.counts = {classes, std::vector<double>(classes)},
                         .fractions = {classes, std::vector<Estimate>(classes)}};
  std::vector<double> all(classes), squared(classes);
  for (const std::int64_t row : order) {
    if (table.label(row) < 0) continue;
    const auto truth = static_cast<std::size_t>(table.label(row));
    const double weight = table.weight(row);
    matrix.counts[truth][static_cast<std::size_t>(predicted_class(table, row))] += weight;
    all[truth] += weight;
    squared[truth] += weight * weight;
  }
  for (std::size_t truth = 0; truth < classes; ++truth)
    for (std::size_t taken = 0; taken < classes; ++taken)
      matrix.fractions[truth][taken] = proportion(matrix.counts[truth][taken], all[truth], squared[truth]);
  return matrix;
}

constexpr int kLargest = -1;  ///< the score of the predicted class

/// Sums over the samples of one bin of a reliability diagram.
struct ReliabilitySums {
  double weights = 0, squared = 0, scores = 0, right = 0;

  void add(double score, bool is_right, double weight) {
    weights += weight;
    squared += weight * weight;
    scores += weight * score;
    right += is_right ? weight : 0.0;
  }
};

Calibration make_calibration(const ScoreTable& table, const std::vector<std::int64_t>& order, int score,
                             int bins) {
  std::vector<ReliabilitySums> sums(static_cast<std::size_t>(bins));
  double all = 0;
  for (const std::int64_t row : order) {
    if (table.label(row) < 0) continue;
    const int shown = score == kLargest ? predicted_class(table, row) : score;
    const double value = table.score(row, shown);
    const auto bin = static_cast<std::size_t>(std::clamp(static_cast<int>(value * bins), 0, bins - 1));
    sums[bin].add(value, table.label(row) == shown, table.weight(row));
    all += table.weight(row);
  }
  Calibration result{.score = score};
  double variance = 0;
  for (std::size_t bin = 0; bin < sums.size(); ++bin) {
    const ReliabilitySums& of_bin = sums[bin];
    if (!(of_bin.weights > 0)) continue;
    const CalibrationBin found{.low = static_cast<double>(bin) / bins,
                               .high = static_cast<double>(bin + 1) / bins,
                               .samples = of_bin.weights,
                               .score = of_bin.scores / of_bin.weights,
                               .fraction = proportion(of_bin.right, of_bin.weights, of_bin.squared)};
    const double share = of_bin.weights / all;
    result.expected_error.value += share * std::abs(found.fraction.value - found.score);
    variance += share * share * found.fraction.error * found.fraction.error;
    result.bins.push_back(found);
  }
  result.expected_error.error = std::sqrt(variance);
  if (result.bins.empty()) result.expected_error = {kNaN, kNaN};
  return result;
}

}  // namespace

ClassificationResult evaluate(const ScoreTable& table, const ClassificationOptions& options) {
  ClassificationResult result;
  result.classes = options.classes;
  result.class_counts.resize(options.classes.size());
  const std::vector<std::int64_t> order = canonical_order(table);
  add_totals(table, order, result);
  result.confusion = make_confusion(table, order);
  result.calibrations.push_back(make_calibration(table, order, kLargest, options.calibration_bins));
  for (int signal : signals_of(options)) {
    result.signals.push_back(evaluate_signal(table, signal, kRest, options));
    for (int other = 0; table.classes() > 2 && other < table.classes(); ++other) {
      if (other != signal) result.signals.push_back(evaluate_signal(table, signal, other, options));
    }
    result.distributions.push_back(make_distribution(table, order, signal, options.histogram_bins));
    result.calibrations.push_back(make_calibration(table, order, signal, options.calibration_bins));
  }
  result.auc = mean_auc_against_rest(result.signals);
  return result;
}

}  // namespace bunchtrain::metrics
