// SPDX-License-Identifier: Apache-2.0
#include "series_collector.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace bunchtrain::report {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double mean(const std::vector<double>& values, std::size_t begin, std::size_t end) {
  return std::accumulate(values.begin() + static_cast<std::ptrdiff_t>(begin),
                         values.begin() + static_cast<std::ptrdiff_t>(end), 0.0) /
         static_cast<double>(end - begin);
}

std::vector<double> thin(const std::vector<double>& values, std::size_t most) {
  if (values.size() <= most) return values;
  std::vector<double> result(most);
  for (std::size_t i = 0; i < most; ++i)
    result[i] = mean(values, i * values.size() / most, (i + 1) * values.size() / most);
  return result;
}

}  // namespace

std::vector<double>& SeriesCollector::column(std::string_view name) {
  auto found = std::ranges::find(columns_, name, &NamedSeries::name);
  if (found == columns_.end())
    found = columns_.insert(found, {.name = std::string(name), .values = std::vector(length_, kUnknown)});
  return found->values;
}

void SeriesCollector::add(const std::vector<NamedValue>& entry) {
  for (const NamedValue& value : entry) {
    std::vector<double>& values = column(value.name);
    if (values.size() == length_) values.push_back(value.value);
  }
  ++length_;
  for (NamedSeries& series : columns_) series.values.resize(length_, kUnknown);
  if (++open_ < group_) return;
  for (NamedSeries& series : columns_) {
    series.values[length_ - open_] = mean(series.values, length_ - open_, length_);
    series.values.resize(length_ - open_ + 1);
  }
  length_ -= open_ - 1;
  open_ = 0;
  if (length_ == limit_) merge_pairs();
}

void SeriesCollector::merge_pairs() {
  for (NamedSeries& series : columns_) series.values = thin(series.values, limit_ / 2);
  length_ = limit_ / 2;
  group_ *= 2;
}

std::vector<NamedSeries> SeriesCollector::series(std::size_t most) const {
  std::vector<NamedSeries> result;
  for (const NamedSeries& series : columns_)
    result.push_back({.name = series.name, .values = thin(series.values, most)});
  return result;
}

}  // namespace bunchtrain::report
