// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/detail/old_curves.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/metrics/result_sections.hpp"

namespace bunchtrain::metrics {
namespace {

using Json = nlohmann::ordered_json;

double real(const Json& json, const char* name) {
  const Json& value = json.at(name);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

template <class T>
std::vector<T> list(const Json& json, const char* name) {
  return json.at(name).get<std::vector<T>>();
}

int class_number(const ClassificationResult& result, const std::string& name) {
  const auto found = std::ranges::find(result.classes, name);
  if (found == result.classes.end()) throw DataError(fmt::format("there is no class \"{}\"", name));
  return static_cast<int>(found - result.classes.begin());
}

SignalResult parse_signal(const Json& json, const ClassificationResult& result) {
  const auto background = json.at("background").get<std::string>();
  const bool is_rest = background == "rest" || result.classes.size() == 2;
  SignalResult signal{.signal = class_number(result, json.at("signal").get<std::string>()),
                      .background = is_rest ? -1 : class_number(result, background),
                      .auc = real(json, "auc")};
  const auto signals = list<double>(json, "signal_efficiency"),
             backgrounds = list<double>(json, "background_efficiency");
  if (signals.size() != backgrounds.size())
    throw DataError("signal_efficiency and background_efficiency of a curve differ in length");
  for (std::size_t i = 0; i < signals.size(); ++i)
    signal.roc.push_back({.signal_efficiency = signals[i], .background_efficiency = backgrounds[i]});
  for (const Json& point : json.at("rejections"))
    signal.rejections.push_back({.target = real(point, "signal_efficiency"),
                                 .value = real(point, "rejection"),
                                 .error = real(point, "error"),
                                 .is_lower_limit = point.at("is_lower_limit").get<bool>()});
  return signal;
}

ScoreDistribution parse_distribution(const Json& json, const ClassificationResult& result) {
  ScoreDistribution distribution{.score = class_number(result, json.at("score").get<std::string>()),
                                 .counts = list<std::vector<double>>(json, "counts")};
  if (distribution.counts.size() != result.classes.size())
    throw DataError("a histogram needs one list of counts per class");
  return distribution;
}

ClassificationResult parse_result(const Json& json) {
  ClassificationResult result{.classes = list<std::string>(json, "classes"),
                              .samples = json.at("samples").get<std::int64_t>(),
                              .loss = real(json, "loss"),
                              .accuracy = real(json, "accuracy"),
                              .auc = real(json, "auc"),
                              .class_counts = list<std::int64_t>(json, "class_counts")};
  for (const Json& curve : json.at("roc_curves")) result.signals.push_back(parse_signal(curve, result));
  for (const Json& histogram : json.at("histograms"))
    result.distributions.push_back(parse_distribution(histogram, result));
  return result;
}

std::vector<report::Section> parse_sections(const Json& json, const std::string& samples) {
  auto sections =
      make_sections(parse_result(json), {.data = json.at("data").get<std::string>(), .samples = samples});
  if (const auto epoch = json.at("epoch").get<std::int64_t>(); epoch > 0)
    sections.front().paragraphs.push_back(fmt::format("After epoch {}.", epoch));
  return sections;
}

}  // namespace

bool is_old_curves_file(const std::filesystem::path& path) {
  return begins_with_mark(path, R"("curves made by")");
}

std::vector<report::Section> read_old_curves(const std::filesystem::path& path, const std::string& samples) {
  const std::string text = read_text_file(path);
  try {
    return parse_sections(Json::parse(text), samples);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{} is not a file of curves: {}", path.string(), error.what()));
  } catch (DataError& error) {
    error.add_context("in " + path.string());
    throw;
  }
}

}  // namespace bunchtrain::metrics
