// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/roc.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
/// An efficiency of exactly 30 % must not miss its target by the rounding of a sum.
constexpr double kSlack = 1e-12;

void check_input(std::span<const double> scores, std::span<const std::uint8_t> is_signal,
                 std::span<const double> weights) {
  const bool fits = scores.size() == is_signal.size() && (weights.empty() || weights.size() == scores.size());
  if (!fits) {
    throw ConfigError(fmt::format("{} scores, {} labels and {} weights do not fit together", scores.size(),
                                  is_signal.size(), weights.size()));
  }
  expects(std::none_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s); }),
          "a score is NaN");
  expects(std::all_of(weights.begin(), weights.end(), [](double w) { return w >= 0 && std::isfinite(w); }),
          "weights must be finite and not negative");
}

std::vector<std::size_t> order_by_score(std::span<const double> scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  return order;
}

}  // namespace

std::string to_string(const Rejection& rejection) {
  if (std::isnan(rejection.value)) return "-";
  if (rejection.is_lower_limit) return fmt::format("> {:.0f}", rejection.value);
  const int decimals = rejection.value < 1000 ? 1 : 0;
  return fmt::format("{0:.{2}f} ± {1:.{2}f}", rejection.value, rejection.error, decimals);
}

Roc::Roc(std::span<const double> scores, std::span<const std::uint8_t> is_signal,
         std::span<const double> weights) {
  check_input(scores, is_signal, weights);
  Step passing{};
  double area = 0;
  const std::vector<std::size_t> order = order_by_score(scores);
  for (std::size_t begin = 0; begin < order.size();) {
    const double threshold = scores[order[begin]], signal_before = passing.signal,
                 background_before = passing.background;
    std::size_t end = begin;
    for (; end < order.size() && scores[order[end]] == threshold; ++end) {
      const double weight = weights.empty() ? 1.0 : weights[order[end]];
      if (is_signal[order[end]]) {
        passing.signal += weight;
        ++num_signal_;
      } else {
        passing.background += weight;
        passing.background2 += weight * weight;
        ++num_background_;
      }
    }
    // Background here loses to the signal above it, and ties with half of the signal at the same score.
    area += (passing.background - background_before) * (signal_before + passing.signal) / 2;
    passing.threshold = threshold;
    steps_.push_back(passing);
    begin = end;
  }
  const double all = passing.signal * passing.background;
  auc_ = all > 0 ? area / all : kNaN;
}

Rejection Roc::rejection_at(double signal_efficiency) const {
  if (!(signal_efficiency > 0 && signal_efficiency <= 1)) {
    throw ConfigError("signal efficiency", fmt::format("{}", signal_efficiency),
                      "a number above 0 and up to 1");
  }
  Rejection result{.target = signal_efficiency,
                   .signal_efficiency = kNaN,
                   .threshold = kNaN,
                   .value = kNaN,
                   .error = kNaN};
  if (std::isnan(auc_)) return result;
  const Step& all = steps_.back();
  const double needed = signal_efficiency * all.signal * (1 - kSlack);
  const auto step =
      std::partition_point(steps_.begin(), steps_.end(), [&](const Step& s) { return s.signal < needed; });
  result.signal_efficiency = step->signal / all.signal;
  result.threshold = step->threshold;
  result.is_lower_limit = !(step->background > 0);
  if (result.is_lower_limit) {
    result.value = all.background * all.background / all.background2;
    return result;
  }
  const double mistag = step->background / all.background;
  const double passing = step->background * step->background / step->background2;
  result.value = 1 / mistag;
  result.error = result.value * std::sqrt((1 - mistag) / passing);
  return result;
}

std::vector<RocPoint> Roc::thinned(int max_points) const {
  expects(max_points >= 4, "a thinned ROC curve needs 4 points or more");
  if (std::isnan(auc_)) return {};
  const Step& all = steps_.back();
  std::vector<std::size_t> chosen;
  if (steps_.size() + 1 <= static_cast<std::size_t>(max_points)) {
    chosen.resize(steps_.size());
    std::iota(chosen.begin(), chosen.end(), std::size_t{0});
  } else {
    // Half of the points even in signal efficiency, half even in the logarithm of the background efficiency.
    const int half = (max_points - 2) / 2;
    const double smallest = 1 / all.background;
    const auto choose = [&](auto&& below) {
      const auto found = std::partition_point(steps_.begin(), steps_.end(), below);
      if (found != steps_.end()) chosen.push_back(static_cast<std::size_t>(found - steps_.begin()));
    };
    for (int i = 0; i < half; ++i) {
      const double fraction = (i + 0.5) / half;
      choose([&](const Step& s) { return s.signal < fraction * all.signal; });
      choose([&](const Step& s) { return s.background < std::pow(smallest, 1 - fraction) * all.background; });
    }
    chosen.push_back(steps_.size() - 1);
    std::sort(chosen.begin(), chosen.end());
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  }
  std::vector<RocPoint> points{{.threshold = std::numeric_limits<double>::infinity()}};
  for (std::size_t i : chosen) {
    points.push_back(
        {steps_[i].threshold, steps_[i].signal / all.signal, steps_[i].background / all.background});
  }
  return points;
}

}  // namespace bunchtrain::metrics
