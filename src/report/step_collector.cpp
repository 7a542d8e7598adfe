// SPDX-License-Identifier: Apache-2.0
#include "step_collector.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "bunchtrain/report/epoch_row.hpp"

namespace bunchtrain::report {
namespace {

constexpr std::string_view kStep = "step", kLoss = "loss", kLearningRate = "learning_rate";
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

std::vector<double>& StepCollector::column(std::string_view name) {
  auto found = std::ranges::find(columns_, name, &NamedSeries::name);
  if (found == columns_.end())
    found = columns_.insert(found, {.name = std::string(name), .values = std::vector(length_, kUnknown)});
  return found->values;
}

void StepCollector::append(std::string_view name, double value) {
  std::vector<double>& values = column(name);
  if (values.size() == length_) values.push_back(value);  // a record that says it twice: the first one counts
}

void StepCollector::add(const Record& record) {
  for (const std::string_view name : {kStep, kLoss, kLearningRate}) append(name, number(record, name));
  for (const NamedValue& loss : parse_losses(record)) append(loss_key(loss.name), loss.value);
  ++length_;
  for (NamedSeries& series : columns_) series.values.resize(length_, kUnknown);
  if (++open_ < group_) return;
  for (NamedSeries& series : columns_) {
    series.values[length_ - open_] = mean(series.values, length_ - open_, length_);
    series.values.resize(length_ - open_ + 1);
  }
  length_ -= open_ - 1;
  open_ = 0;
  if (length_ == kLimit) merge_pairs();
}

void StepCollector::merge_pairs() {
  for (NamedSeries& series : columns_) series.values = thin(series.values, kLimit / 2);
  length_ = kLimit / 2;
  group_ *= 2;
}

StepSeries StepCollector::series(std::size_t most) const {
  StepSeries result;
  for (const NamedSeries& series : columns_) {
    std::vector<double> values = thin(series.values, most);
    if (series.name == kStep) {
      result.step = std::move(values);
    } else if (series.name == kLoss) {
      result.loss = std::move(values);
    } else if (series.name == kLearningRate) {
      result.learning_rate = std::move(values);
    } else {
      result.losses.push_back({series.name.substr(loss_key("").size()), std::move(values)});
    }
  }
  return result;
}

}  // namespace bunchtrain::report
