// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/run_records.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "series_collector.hpp"

namespace bunchtrain::report {
namespace {

constexpr std::size_t kMostPoints = 1500;  ///< more points than pixels help nobody
constexpr std::size_t kMostSteps = 24'000, kMostValidations = 6'000;
constexpr std::string_view kStep = "step", kLoss = "loss", kLearningRate = "learning_rate";
constexpr std::array<std::string_view, 3> kShownOfStep = {kStep, kLoss, kLearningRate};

constexpr std::array<std::string_view, 4> kNotShownOfStep = {"kind", "epoch", "gradient_norm",
                                                             "scale_of_loss"};

/// JSON knows no infinities, and a name once.
Record as_read_back(const Record& record) {
  Record result;
  for (const Field& field : record) {
    if (find(result, field.name)) continue;
    result.push_back(field);
    if (auto* real = std::get_if<double>(&result.back().value); real && !std::isfinite(*real))
      *real = std::numeric_limits<double>::quiet_NaN();
  }
  return result;
}

std::vector<NamedValue> step_entry(const Record& record) {
  std::vector<NamedValue> entry;
  for (const std::string_view name : kShownOfStep) entry.push_back({std::string(name), number(record, name)});
  for (const NamedValue& loss : parse_losses(record)) entry.push_back({loss_key(loss.name), loss.value});
  for (const Field& field : record)
    if (!is_own_step_field(field.name)) entry.push_back({field.name, number(record, field.name)});
  return entry;
}

std::vector<NamedValue> validation_entry(const Record& record) {
  std::vector<NamedValue> entry;
  for (const Field& field : record)
    if (field.name != "kind" && field.name != "epoch")
      entry.push_back({field.name, number(record, field.name)});
  return entry;
}

StepSeries to_steps(std::vector<NamedSeries> columns) {
  StepSeries steps;
  for (NamedSeries& column : columns) {
    if (column.name == kStep) {
      steps.step = std::move(column.values);
    } else if (column.name == kLoss) {
      steps.loss = std::move(column.values);
    } else if (column.name == kLearningRate) {
      steps.learning_rate = std::move(column.values);
    } else if (is_own_step_field(column.name)) {
      steps.losses.push_back({column.name.substr(loss_key("").size()), std::move(column.values)});
    } else {
      steps.logged.push_back(std::move(column));
    }
  }
  return steps;
}

ValidationSeries to_validations(std::vector<NamedSeries> columns) {
  ValidationSeries validations;
  for (NamedSeries& column : columns) {
    if (column.name == kStep) {
      validations.step = std::move(column.values);
    } else {
      validations.values.push_back(std::move(column));
    }
  }
  return validations;
}

}  // namespace

bool is_own_step_field(std::string_view name) noexcept {
  return std::ranges::find(kShownOfStep, name) != kShownOfStep.end() ||
         std::ranges::find(kNotShownOfStep, name) != kNotShownOfStep.end() || name.starts_with("loss_");
}

struct RunRecords::Impl {
  std::vector<EpochRow> epochs = {};
  SeriesCollector steps{kMostSteps}, validations{kMostValidations};
  BadLines bad = {};
  std::string file = {};

  void add(const Record& record) {
    const std::string kind = text(record, "kind");
    if (kind == "step") return steps.add(step_entry(record));
    if (kind == "validation") return validations.add(validation_entry(record));
    if (auto row = parse_epoch_row(record)) epochs.push_back(std::move(*row));
  }
};

RunRecords::RunRecords() : impl_(std::make_unique<Impl>()) {}
RunRecords::~RunRecords() = default;
RunRecords::RunRecords(RunRecords&&) noexcept = default;
RunRecords& RunRecords::operator=(RunRecords&&) noexcept = default;

void RunRecords::add(const Record& record) { impl_->add(as_read_back(record)); }

void RunRecords::read(const std::filesystem::path& metrics) {
  impl_->bad = visit_jsonl(metrics, [this](const Record& record) { impl_->add(record); });
  impl_->file = metrics.filename().string();
}

void RunRecords::show_in(TrainingReport& report) const {
  report.epochs = impl_->epochs;
  report.steps = to_steps(impl_->steps.series(kMostPoints));
  report.validations = to_validations(impl_->validations.series(kMostPoints));
  if (impl_->bad.count > 0)
    report.environment.push_back(
        {"Unreadable lines",
         fmt::format("{} of {}, the first is line {}", impl_->bad.count, impl_->file, impl_->bad.first)});
}

}  // namespace bunchtrain::report
