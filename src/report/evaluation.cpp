// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/evaluation.hpp"

#include <fmt/core.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"

namespace bunchtrain::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kMark = "curves made by";

Json to_json(const RejectionPoint& point) {
  return {{"signal_efficiency", point.signal_efficiency},
          {"rejection", point.rejection},
          {"error", point.error},
          {"is_lower_limit", point.is_lower_limit}};
}

Json to_json(const RocCurve& curve) {
  Json rejections = Json::array();
  for (const RejectionPoint& point : curve.rejections) rejections.push_back(to_json(point));
  return {{"signal", curve.signal},
          {"background", curve.background},
          {"auc", curve.auc},
          {"signal_efficiency", curve.signal_efficiency},
          {"background_efficiency", curve.background_efficiency},
          {"rejections", std::move(rejections)}};
}

Json to_json(const ScoreHistogram& histogram) {
  return {{"score", histogram.score}, {"classes", histogram.classes}, {"counts", histogram.counts}};
}

template <class Item>
Json to_json(const std::vector<Item>& items) {
  Json list = Json::array();
  for (const Item& item : items) list.push_back(to_json(item));
  return list;
}

double real(const Json& json, const char* name) {
  const Json& value = json.at(name);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

template <class T>
std::vector<T> list(const Json& json, const char* name) {
  return json.at(name).get<std::vector<T>>();
}

RejectionPoint parse_rejection(const Json& json) {
  return {.signal_efficiency = real(json, "signal_efficiency"),
          .rejection = real(json, "rejection"),
          .error = real(json, "error"),
          .is_lower_limit = json.at("is_lower_limit").get<bool>()};
}

RocCurve parse_roc_curve(const Json& json) {
  RocCurve curve{.signal = json.at("signal").get<std::string>(),
                 .background = json.at("background").get<std::string>(),
                 .auc = real(json, "auc"),
                 .signal_efficiency = list<double>(json, "signal_efficiency"),
                 .background_efficiency = list<double>(json, "background_efficiency"),
                 .rejections = {}};
  if (curve.signal_efficiency.size() != curve.background_efficiency.size()) {
    throw DataError("signal_efficiency and background_efficiency of a curve differ in length");
  }
  for (const Json& point : json.at("rejections")) curve.rejections.push_back(parse_rejection(point));
  return curve;
}

ScoreHistogram parse_histogram(const Json& json) {
  ScoreHistogram histogram{.score = json.at("score").get<std::string>(),
                           .classes = list<std::string>(json, "classes"),
                           .counts = list<std::vector<double>>(json, "counts")};
  if (histogram.classes.size() != histogram.counts.size()) {
    throw DataError("a histogram needs one list of counts per class");
  }
  return histogram;
}

Evaluation parse_evaluation(const Json& json) {
  Evaluation evaluation{.data = json.at("data").get<std::string>(),
                        .epoch = json.at("epoch").get<std::int64_t>(),
                        .step = json.at("step").get<std::int64_t>(),
                        .samples = json.at("samples").get<std::int64_t>(),
                        .loss = real(json, "loss"),
                        .accuracy = real(json, "accuracy"),
                        .auc = real(json, "auc"),
                        .classes = list<std::string>(json, "classes"),
                        .class_counts = list<std::int64_t>(json, "class_counts"),
                        .roc_curves = {},
                        .histograms = {}};
  for (const Json& curve : json.at("roc_curves")) evaluation.roc_curves.push_back(parse_roc_curve(curve));
  for (const Json& histogram : json.at("histograms"))
    evaluation.histograms.push_back(parse_histogram(histogram));
  return evaluation;
}

}  // namespace

void write_evaluation(const std::filesystem::path& path, const Evaluation& evaluation) {
  const Json json{{kMark, "bunchtrain"},
                  {"data", evaluation.data},
                  {"epoch", evaluation.epoch},
                  {"step", evaluation.step},
                  {"samples", evaluation.samples},
                  {"loss", evaluation.loss},
                  {"accuracy", evaluation.accuracy},
                  {"auc", evaluation.auc},
                  {"classes", evaluation.classes},
                  {"class_counts", evaluation.class_counts},
                  {"roc_curves", to_json(evaluation.roc_curves)},
                  {"histograms", to_json(evaluation.histograms)}};
  write_file_atomically(path, json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n');
}

bool is_evaluation_file(const std::filesystem::path& path) {
  return begins_with_mark(path, std::string("\"") + kMark + "\"");
}

Evaluation read_evaluation(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  try {
    return parse_evaluation(Json::parse(text));
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{} is not a file of curves: {}", path.string(), error.what()));
  } catch (DataError& error) {
    error.add_context("in " + path.string());
    throw;
  }
}

std::string format_rejection(const RejectionPoint& point) {
  if (point.is_lower_limit) return fmt::format("> {:.0f}", point.rejection);
  const int decimals = point.rejection < 1000 ? 1 : 0;
  return fmt::format("{:.{}f} ± {:.{}f}", point.rejection, decimals, point.error, decimals);
}

}  // namespace bunchtrain::report
