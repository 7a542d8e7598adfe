// SPDX-License-Identifier: Apache-2.0
#include "residual_table.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "equal_bins.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kOneSigma = 0.682689492137;  ///< of a Gaussian within one standard deviation
constexpr double kReach = 5;                  ///< of histograms, in half widths

/// A sample's value and the error of this estimate of the distribution's, from order statistics.
Estimate quantile(std::span<const double> sorted, double share) {
  const double last = static_cast<double>(sorted.size() - 1);
  const auto at = [&](double place) {
    const double inside = std::clamp(place, 0.0, last), below = std::floor(inside);
    const auto i = static_cast<std::size_t>(below);
    const double next = i + 1 < sorted.size() ? sorted[i + 1] : sorted[i];
    return sorted[i] + (inside - below) * (next - sorted[i]);
  };
  const double place = share * last;
  const double places = std::sqrt(static_cast<double>(sorted.size()) * share * (1 - share));
  return {at(place), (at(place + places) - at(place - places)) / 2};
}

/// Half the central 68.27 %. The errors of its ends are correlated as those of two quantiles are.
Estimate half_width(std::span<const double> sorted) {
  if (sorted.size() < 2) return {kNaN, kNaN};
  const double outside = (1 - kOneSigma) / 2;
  const Estimate low = quantile(sorted, outside), high = quantile(sorted, 1 - outside);
  const double correlation = outside / (1 - outside);
  const double variance =
      low.error * low.error + high.error * high.error - 2 * correlation * low.error * high.error;
  return {(high.value - low.value) / 2, std::sqrt(std::max(0.0, variance)) / 2};
}

/// Mean and standard deviation with errors; the latter's from the fourth moment, so that tails count.
struct Moments {
  Estimate mean = {kNaN, kNaN}, deviation = {kNaN, kNaN};
};

Moments moments_of(std::span<const double> values) {
  Moments result;
  if (values.empty()) return result;
  const auto count = static_cast<double>(values.size());
  double sum = 0, second = 0, fourth = 0;
  for (const double value : values) sum += value;
  result.mean.value = sum / count;
  for (const double value : values) {
    const double square = (value - result.mean.value) * (value - result.mean.value);
    second += square;
    fourth += square * square;
  }
  if (values.size() < 2) return result;
  const double variance = second / (count - 1);
  result.mean.error = std::sqrt(variance / count);
  result.deviation.value = std::sqrt(variance);
  const double spread = std::max(0.0, fourth / count - variance * variance) / count;  // of the variance
  result.deviation.error = variance > 0 ? std::sqrt(spread) / (2 * result.deviation.value) : 0.0;
  return result;
}

RegressionSummary summarise(std::span<const Residual> residuals) {
  std::vector<double> values, magnitudes, squares, pulls;
  for (const Residual& residual : residuals) {
    values.push_back(residual.value);
    magnitudes.push_back(std::abs(residual.value));
    squares.push_back(residual.value * residual.value);
    if (!std::isnan(residual.pull)) pulls.push_back(residual.pull);
  }
  const Moments moments = moments_of(values), pull = moments_of(pulls);
  std::ranges::sort(values);
  return {.samples = static_cast<std::int64_t>(residuals.size()),
          .bias = moments.mean,
          .deviation = moments.deviation,
          .half_width_68 = half_width(values),
          .absolute_error = moments_of(magnitudes).mean,
          .squared_error = moments_of(squares).mean,
          .pull_mean = pull.mean,
          .pull_width = pull.deviation};
}

RegressionHistogram make_histogram(std::span<const double> values, double low, double high,
                                   std::int64_t bins) {
  RegressionHistogram histogram;
  if (values.empty() || !(high > low)) return histogram;
  histogram.counts.resize(static_cast<std::size_t>(bins));
  for (std::int64_t edge = 0; edge <= bins; ++edge)
    histogram.edges.push_back(low + (high - low) * static_cast<double>(edge) / static_cast<double>(bins));
  for (const double value : values) {
    if (value < low) {
      ++histogram.below;
    } else if (value > high) {
      ++histogram.above;
    } else {
      const auto bin = static_cast<std::int64_t>((value - low) / (high - low) * static_cast<double>(bins));
      ++histogram.counts[static_cast<std::size_t>(std::min(bin, bins - 1))];
    }
  }
  return histogram;
}

/// @param residuals ascending in the target
std::vector<RegressionBin> in_bins(std::span<const Residual> residuals, std::int64_t bins) {
  std::vector<double> targets;
  for (const Residual& residual : residuals) targets.push_back(residual.target);
  std::vector<RegressionBin> result;
  const std::vector<double> edges = equally_filled_edges(targets, bins);
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    const bool last = i + 2 == edges.size();
    const auto begin = std::ranges::lower_bound(targets, edges[i]);
    const auto end = last ? targets.end() : std::ranges::lower_bound(targets, edges[i + 1]);
    const auto part = residuals.subspan(static_cast<std::size_t>(begin - targets.begin()),
                                        static_cast<std::size_t>(end - begin));
    result.push_back({.low = edges[i], .high = edges[i + 1], .summary = summarise(part)});
  }
  return result;
}

}  // namespace

RegressionResult evaluate(std::vector<Residual> residuals, const RegressionOptions& options) {
  // By values alone: sums over them round alike, however ranks shared the samples. A pull that is NaN is one
  // everywhere.
  std::ranges::sort(residuals, [](const Residual& a, const Residual& b) {
    return std::array{a.target, a.value, a.pull} < std::array{b.target, b.value, b.pull};
  });
  RegressionResult result{.summary = summarise(residuals), .bins = in_bins(residuals, options.bins)};
  std::vector<double> values, pulls;
  for (const Residual& residual : residuals) {
    values.push_back(residual.value);
    if (!std::isnan(residual.pull)) pulls.push_back(residual.pull);
  }
  if (values.empty()) return result;
  std::ranges::sort(values);
  const double centre = quantile(values, 0.5).value, reach = kReach * result.summary.half_width_68.value;
  result.residuals = make_histogram(values, centre - reach, centre + reach, options.histogram_bins);
  result.pulls = make_histogram(pulls, -kReach, kReach, options.histogram_bins);
  return result;
}

}  // namespace bunchtrain::metrics
