// SPDX-License-Identifier: Apache-2.0
#include "shower_sums.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bunchtrain::metrics {
namespace {

/// Hit counts are exact up to this many bins; larger calorimeters share bins.
constexpr std::int64_t kMostHitBins = 4096;
constexpr std::size_t kThetaBins = 720;

std::vector<double> even_edges(std::size_t bins, double first, double width) {
  std::vector<double> edges;
  for (std::size_t i = 0; i <= bins; ++i) edges.push_back(first + width * static_cast<double>(i));
  return edges;
}

/// Mean and its error from sums of values and of their squares.
Estimate estimate(double sum, double squares, double count) {
  if (count < 1) return {};
  const double mean = sum / count;
  if (count < 2) return {mean, 0};
  const double variance = std::max(0.0, (squares - sum * mean) / (count - 1));
  return {mean, std::sqrt(variance / count)};
}

}  // namespace

ShowerSums::ShowerSums(const ShowerRow& row, const CellGeometry& geometry, const ShowerBinning& binning)
    : row_(row) {
  squares_ = kSums + row.size;
  products_ = squares_ + row.squares;
  std::size_t place = products_ + ShowerRow::kCorrelated * ShowerRow::kCorrelated;
  const auto histogram = [&](std::size_t bins, double first, double width) {
    const Histogram made{place, bins, first, width};
    place += bins;
    return made;
  };
  const auto fraction_bins = static_cast<std::size_t>(binning.fraction_bins);
  fractions_ = histogram(fraction_bins, 0, binning.highest_fraction / static_cast<double>(fraction_bins));
  const std::int64_t hits_per_bin = geometry.size() / kMostHitBins + 1;
  hits_ = histogram(static_cast<std::size_t>(geometry.size() / hits_per_bin + 1), -0.5,
                    static_cast<double>(hits_per_bin));
  angles_ = histogram(kThetaBins, 0, std::numbers::pi / static_cast<double>(kThetaBins));
  values_.resize(place);
}

void ShowerSums::count(const Histogram& histogram, double value) {
  const double place = (value - histogram.first) / histogram.width;
  const double last = static_cast<double>(histogram.bins - 1);
  values_[histogram.begin + static_cast<std::size_t>(std::clamp(place, 0.0, last))] += 1;
}

void ShowerSums::add(std::span<const double> row) {
  const bool filled = row[ShowerRow::kSum] > 0;
  const double theta = row[ShowerRow::kTheta];
  const bool angled = filled && std::isfinite(theta);
  values_[kShowers] += 1;
  values_[kFilled] += filled;
  values_[kAngles] += angled;
  values_[kDark] += !(row[ShowerRow::kHits] > 0);
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i == ShowerRow::kTheta && !angled) continue;
    values_[kSums + i] += row[i];
    if (i < row_.squares) values_[squares_ + i] += row[i] * row[i];
  }
  const double fraction = row[ShowerRow::kFraction];
  values_[kThird] += fraction * fraction * fraction;
  values_[kFourth] += fraction * fraction * fraction * fraction;
  if (filled) {
    const std::span<const double> correlated = row.subspan(ShowerRow::kSum, ShowerRow::kCorrelated);
    double* product = &values_[products_];
    for (const double a : correlated) {
      for (const double b : correlated) *product++ += a * b;
    }
  }
  count(fractions_, fraction);
  count(hits_, row[ShowerRow::kHits]);
  if (angled) count(angles_, theta);
}

void ShowerSums::merge(const ShowerSums& other) {
  for (std::size_t i = 0; i < values_.size(); ++i) values_[i] += other.values_[i];
}

Estimate ShowerSums::mean(std::size_t column, double count) const {
  return estimate(sum(column), square(column), count);
}

// The error of a standard deviation s: var(s^2) = (m4 - s^4 (n - 3) / (n - 1)) / n, divided by 2 s.
Estimate ShowerSums::fraction_width() const {
  const double n = values_[kShowers];
  if (n < 2) return {};
  const double mean = sum(ShowerRow::kFraction) / n, square_mean = square(ShowerRow::kFraction) / n;
  const double variance = std::max(0.0, (square_mean - mean * mean) * n / (n - 1));
  const double fourth = values_[kFourth] / n - 4 * mean * values_[kThird] / n +
                        6 * mean * mean * square_mean - 3 * mean * mean * mean * mean;
  const double of_variance = std::max(0.0, (fourth - variance * variance * (n - 3) / (n - 1)) / n);
  const double width = std::sqrt(variance);
  return {width, width > 0 ? std::sqrt(of_variance) / (2 * width) : 0.0};
}

ShowerHistogram ShowerSums::means(std::size_t column, const std::vector<double>& edges) const {
  ShowerHistogram histogram{.edges = edges};
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    const Estimate bin = mean(column + i, values_[kShowers]);
    histogram.contents.push_back(bin.value);
    histogram.errors.push_back(bin.error);
  }
  return histogram;
}

ShowerHistogram ShowerSums::shares(const Histogram& bins, double count) const {
  ShowerHistogram histogram{.edges = even_edges(bins.bins, bins.first, bins.width)};
  for (std::size_t i = 0; i < bins.bins; ++i) {
    const double entries = values_[bins.begin + i];
    const Estimate bin = estimate(entries, entries, count);  // a shower counts 0 or 1
    histogram.contents.push_back(bin.value);
    histogram.errors.push_back(bin.error);
  }
  return histogram;
}

ShowerProjection ShowerSums::view(std::size_t column, std::int64_t rows, std::int64_t columns) const {
  const double showers = std::max(1.0, values_[kShowers]);
  ShowerProjection image;
  for (std::int64_t r = 0; r < rows; ++r) {
    auto& row = image.emplace_back();
    for (std::int64_t c = 0; c < columns; ++c) row.push_back(sum(column++) / showers);
  }
  return image;
}

ShowerBinResult ShowerSums::evaluate(const CellGeometry& geometry,
                                     const std::vector<double>& cell_edges) const {
  const double showers = values_[kShowers], filled = values_[kFilled], angles = values_[kAngles];
  ShowerBinResult result{.showers = this->showers(),
                         .energy = mean(ShowerRow::kEnergy, showers),
                         .fraction = mean(ShowerRow::kFraction, showers),
                         .fraction_width = fraction_width(),
                         .hits = mean(ShowerRow::kHits, showers),
                         .theta = mean(ShowerRow::kTheta, angles),
                         .cell_spectrum = means(row_.spectrum, cell_edges),
                         .fraction_histogram = shares(fractions_, showers),
                         .hit_histogram = shares(hits_, showers)};
  if (angles > 0) result.theta_histogram = shares(angles_, angles);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    result.profile[axis] = means(row_.profile[axis], geometry.edges[axis]);
    result.moments[axis] = {mean(ShowerRow::kFirst + axis, filled), mean(ShowerRow::kSecond + axis, filled)};
  }
  if (!geometry.image.empty()) {
    result.side_view = view(row_.side_view, geometry.bins(0), geometry.bins(2));
    result.top_view = view(row_.top_view, geometry.bins(1), geometry.bins(2));
  }
  return result;
}

std::vector<std::vector<double>> ShowerSums::correlation() const {
  constexpr std::size_t kSize = ShowerRow::kCorrelated;
  const double n = std::max(1.0, values_[kFilled]);
  const auto covariance = [&](std::size_t a, std::size_t b) {
    return values_[products_ + a * kSize + b] / n -
           sum(ShowerRow::kSum + a) / n * (sum(ShowerRow::kSum + b) / n);
  };
  std::vector<std::vector<double>> matrix(kSize, std::vector<double>(kSize, 0.0));
  for (std::size_t a = 0; a < kSize; ++a) {
    for (std::size_t b = 0; b < kSize; ++b) {
      const double scale = covariance(a, a) * covariance(b, b);
      // What does not vary has no correlation with anything.
      if (scale > 0) matrix[a][b] = a == b ? 1.0 : std::clamp(covariance(a, b) / std::sqrt(scale), -1.0, 1.0);
    }
  }
  return matrix;
}

}  // namespace bunchtrain::metrics
