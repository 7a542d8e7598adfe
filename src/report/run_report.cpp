// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/run_report.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/report/run_records.hpp"

namespace bunchtrain::report {
namespace {

using Json = nlohmann::ordered_json;

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

void add_description(const std::filesystem::path& path, std::string_view text, TrainingReport& report) {
  Json json;
  try {
    json = Json::parse(text);
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

}  // namespace

TrainingReport describe_run(const std::filesystem::path& run_folder, std::string_view run_json) {
  TrainingReport report;
  // A path that ends in a slash has an empty file name.
  report.title = (run_folder.has_filename() ? run_folder : run_folder.parent_path()).filename().string();
  if (!run_json.empty()) add_description(run_folder / "run.json", run_json, report);
  return report;
}

TrainingReport read_run(const std::filesystem::path& run_folder) {
  const auto metrics = run_folder / "metrics.jsonl", run = run_folder / "run.json",
             sections = run_folder / "sections.json";
  if (!std::filesystem::exists(metrics) && !std::filesystem::exists(run)) {
    throw DataError(
        fmt::format("{} is not a run folder: it holds neither metrics.jsonl nor run.json. Give the folder "
                    "that {} named.",
                    run_folder.string(), setting("run")));
  }
  TrainingReport report =
      describe_run(run_folder, std::filesystem::exists(run) ? read_text_file(run) : std::string());
  RunRecords records;
  if (std::filesystem::exists(metrics)) records.read(metrics);
  records.show_in(report);
  if (std::filesystem::exists(sections)) report.sections = read_sections(sections);
  return report;
}

}  // namespace bunchtrain::report
