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

void add_totals(const ScoreTable& table, ClassificationResult& result) {
  double weights = 0, correct = 0, loss = 0;
  for (std::int64_t row = 0; row < table.size(); ++row) {
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

ScoreDistribution make_distribution(const ScoreTable& table, int score, int bins) {
  ScoreDistribution distribution{.score = score, .counts = {}};
  distribution.counts.assign(static_cast<std::size_t>(table.classes()),
                             std::vector<double>(static_cast<std::size_t>(bins)));
  for (std::int64_t row = 0; row < table.size(); ++row) {
    if (table.label(row) < 0) continue;
    const int bin = std::clamp(static_cast<int>(table.score(row, score) * bins), 0, bins - 1);
    distribution.counts[static_cast<std::size_t>(table.label(row))][static_cast<std::size_t>(bin)] +=
        table.weight(row);
  }
  return distribution;
}

}  // namespace

ClassificationResult evaluate(const ScoreTable& table, const ClassificationOptions& options) {
  ClassificationResult result;
  result.classes = options.classes;
  result.class_counts.resize(options.classes.size());
  add_totals(table, result);
  for (int signal : signals_of(options)) {
    result.signals.push_back(evaluate_signal(table, signal, kRest, options));
    for (int other = 0; table.classes() > 2 && other < table.classes(); ++other) {
      if (other != signal) result.signals.push_back(evaluate_signal(table, signal, other, options));
    }
    result.distributions.push_back(make_distribution(table, signal, options.histogram_bins));
  }
  result.auc = mean_auc_against_rest(result.signals);
  return result;
}

}  // namespace bunchtrain::metrics
