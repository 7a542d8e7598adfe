// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/run_report.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "step_collector.hpp"

namespace bunchtrain::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostSteps = 1500;  ///< more points than pixels help nobody

std::string as_text(const Json& json) {
  return json.is_string() ? json.get<std::string>()
                          : json.dump(2, ' ', false, Json::error_handler_t::replace);
}

// Nested objects become "outer.inner".
void flatten(const Json& json, const std::string& prefix, std::vector<KeyValue>& out) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_object()) {
      flatten(value, name, out);
    } else {
      out.push_back({name, value.is_array() ? value.dump() : as_text(value)});
    }
  }
}

void read_run_json(const std::filesystem::path& path, TrainingReport& report) {
  Json json;
  try {
    json = Json::parse(read_text_file(path));
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{} is not JSON: {}", path.string(), error.what()));
  }
  if (!json.is_object()) throw DataError(fmt::format("{} must hold a JSON object", path.string()));
  const auto text_of = [&](const char* name) {
    return json.contains(name) ? as_text(json[name]) : std::string();
  };
  if (json.contains("name")) report.title = text_of("name");
  if (json.contains("samples")) report.samples = text_of("samples");
  for (const char* name : {"started", "machine"}) {
    const std::string part = text_of(name);
    if (!part.empty()) report.subtitle += (report.subtitle.empty() ? "" : " · ") + part;
  }
  if (json.contains("summary") && json["summary"].is_object()) flatten(json["summary"], "", report.summary);
  if (json.contains("environment") && json["environment"].is_object())
    flatten(json["environment"], "", report.environment);
  report.configuration = text_of("configuration");
  report.card = text_of("card");
}

void read_metrics(const std::filesystem::path& path, TrainingReport& report) {
  StepCollector steps;
  const BadLines bad = visit_jsonl(path, [&](const Record& record) {
    if (auto row = parse_epoch_row(record)) {
      report.epochs.push_back(std::move(*row));
    } else if (text(record, "kind") == "step") {
      steps.add(record);
    }
  });
  report.steps = steps.series(kMostSteps);
  if (bad.count > 0)
    report.environment.push_back({"Unreadable lines", fmt::format("{} of {}, the first is line {}", bad.count,
                                                                  path.filename().string(), bad.first)});
}

}  // namespace

TrainingReport read_run(const std::filesystem::path& run_folder) {
  const auto metrics = run_folder / "metrics.jsonl", run = run_folder / "run.json",
             sections = run_folder / "sections.json";
  if (!std::filesystem::exists(metrics) && !std::filesystem::exists(run)) {
    throw DataError(
        fmt::format("{} is not a run folder: it holds neither metrics.jsonl nor run.json. Give the folder "
                    "that --run named.",
                    run_folder.string()));
  }
  TrainingReport report;
  // A path that ends in a slash has an empty file name.
  report.title = (run_folder.has_filename() ? run_folder : run_folder.parent_path()).filename().string();
  if (std::filesystem::exists(run)) read_run_json(run, report);
  if (std::filesystem::exists(metrics)) read_metrics(metrics, report);
  if (std::filesystem::exists(sections)) report.sections = read_sections(sections);
  return report;
}

}  // namespace bunchtrain::report
