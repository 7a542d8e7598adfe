// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/epoch_row.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace bunchtrain::report {
namespace {

struct SplitField {
  std::string_view name;
  double StepSplit::*member;
};
constexpr std::array<SplitField, 6> kSplitFields{{{"seconds_data", &StepSplit::data},
                                                  {"seconds_forward", &StepSplit::forward},
                                                  {"seconds_backward", &StepSplit::backward},
                                                  {"seconds_communication", &StepSplit::communication},
                                                  {"seconds_optimizer", &StepSplit::optimizer},
                                                  {"seconds_idle", &StepSplit::idle}}};

struct RealField {
  std::string_view name;
  double EpochRow::*member;
};
constexpr std::array<RealField, 5> kRealFields{{{"seconds", &EpochRow::seconds},
                                                {"train_loss", &EpochRow::train_loss},
                                                {"valid_loss", &EpochRow::valid_loss},
                                                {"learning_rate", &EpochRow::learning_rate},
                                                {"samples_per_second", &EpochRow::samples_per_second}}};

struct CountField {
  std::string_view name;
  std::int64_t EpochRow::*member;
};
constexpr std::array<CountField, 3> kCountFields{
    {{"epoch", &EpochRow::epoch}, {"epochs", &EpochRow::epochs}, {"step", &EpochRow::step}}};

struct LoaderField {
  std::string_view name;
  double LoaderSplit::*member;
};
constexpr std::array<LoaderField, 12> kLoaderFields{
    {{"loader_wait_p50", &LoaderSplit::wait_p50},
     {"loader_wait_p99", &LoaderSplit::wait_p99},
     {"loader_fetch_p50", &LoaderSplit::fetch_p50},
     {"loader_fetch_p99", &LoaderSplit::fetch_p99},
     {"loader_decode_p50", &LoaderSplit::decode_p50},
     {"loader_decode_p99", &LoaderSplit::decode_p99},
     {"loader_assemble_p50", &LoaderSplit::assemble_p50},
     {"loader_assemble_p99", &LoaderSplit::assemble_p99},
     {"loader_bytes_fetched", &LoaderSplit::bytes_fetched},
     {"loader_read_amplification", &LoaderSplit::read_amplification},
     {"loader_processor_seconds_per_gb", &LoaderSplit::processor_seconds_per_gb},
     {"loader_padding", &LoaderSplit::padding}}};
constexpr std::string_view kSlowestStage = "loader_slowest_stage", kBadSamples = "bad_samples";

constexpr std::string_view kLossPrefix = "loss_";

template <class Fields>
bool has_name(const Fields& fields, std::string_view name) {
  return std::any_of(fields.begin(), fields.end(), [&](const auto& field) { return field.name == name; });
}

bool is_metric(const Field& field) {
  return field.name != "kind" && !has_name(kCountFields, field.name) && !has_name(kRealFields, field.name) &&
         !has_name(kSplitFields, field.name) && !has_name(kLoaderFields, field.name) &&
         field.name != kBadSamples && !field.name.starts_with(kLossPrefix) &&
         !std::holds_alternative<std::string>(field.value) &&
         !std::holds_alternative<std::vector<double>>(field.value);
}

}  // namespace

std::string loss_key(std::string_view term) { return std::string(kLossPrefix).append(term); }

std::vector<NamedValue> parse_losses(const Record& record) {
  std::vector<NamedValue> losses;
  for (const Field& field : record) {
    if (field.name.starts_with(kLossPrefix))
      losses.push_back({field.name.substr(kLossPrefix.size()), number(record, field.name)});
  }
  return losses;
}

Record make_record(const EpochRow& row) {
  Record record{{"kind", "epoch"}};
  for (const auto& [name, member] : kCountFields) record.push_back({std::string(name), row.*member});
  for (const auto& [name, member] : kRealFields) {
    if (!std::isnan(row.*member)) record.push_back({std::string(name), row.*member});
  }
  for (const auto& [name, member] : kSplitFields) record.push_back({std::string(name), row.split.*member});
  for (const auto& [name, member] : kLoaderFields)
    if (!std::isnan(row.loader.*member)) record.push_back({std::string(name), row.loader.*member});
  if (!row.loader.slowest_stage.empty())
    record.push_back({std::string(kSlowestStage), row.loader.slowest_stage});
  if (row.bad_samples > 0) record.push_back({std::string(kBadSamples), row.bad_samples});
  for (const NamedValue& loss : row.losses) record.push_back({loss_key(loss.name), loss.value});
  for (const NamedValue& metric : row.metrics) record.push_back({metric.name, metric.value});
  return record;
}

std::optional<EpochRow> parse_epoch_row(const Record& record) {
  if (text(record, "kind") != "epoch") return std::nullopt;
  EpochRow row;
  for (const auto& [name, member] : kCountFields) {
    const double value = number(record, name);
    row.*member = std::isfinite(value) ? static_cast<std::int64_t>(value) : 0;
  }
  for (const auto& [name, member] : kRealFields) row.*member = number(record, name);
  for (const auto& [name, member] : kSplitFields) {
    const double value = number(record, name);
    row.split.*member = std::isfinite(value) ? value : 0;
  }
  for (const auto& [name, member] : kLoaderFields) row.loader.*member = number(record, name);
  row.loader.slowest_stage = text(record, kSlowestStage);
  if (const double bad = number(record, kBadSamples); std::isfinite(bad))
    row.bad_samples = static_cast<std::int64_t>(bad);
  row.losses = parse_losses(record);
  for (const Field& field : record) {
    if (is_metric(field)) row.metrics.push_back({field.name, number(record, field.name)});
  }
  return row;
}

}  // namespace bunchtrain::report
