// SPDX-License-Identifier: Apache-2.0
#include "run_description.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/core/version.hpp"
#include "bunchtrain/data/detail/notices.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/report/table.hpp"

namespace bunchtrain::train {
namespace {

using Json = nlohmann::ordered_json;

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::string class_counts(const data::DatasetSummary& summary) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < summary.classes.size() && i < summary.class_counts.size(); ++i)
    parts.push_back(fmt::format("{} {}", summary.class_counts[i], summary.classes[i]));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string describe_data(const data::Dataset& dataset) {
  const auto& summary = dataset.summary();
  std::string text = summary.description;
  if (!summary.classes.empty()) text += fmt::format(" ({})", class_counts(summary));
  if (summary.truncated > 0 && dataset.size() > 0)
    text += fmt::format(", {:.1f} % have more particles than the padded length",
                        100.0 * static_cast<double>(summary.truncated) / static_cast<double>(dataset.size()));
  return text;
}

std::vector<std::string> column_lines(const data::DatasetSummary& summary) {
  if (summary.columns.empty()) return {};
  report::Table table({"input", "mean", "width", "min", "max", "NaN"});
  for (const auto& column : summary.columns)
    table.add_row({column.tensor + ": " + column.expression, fmt::format("{:.4g}", column.mean),
                   fmt::format("{:.4g}", column.width), fmt::format("{:.4g}", column.minimum),
                   fmt::format("{:.4g}", column.maximum), fmt::format("{}", column.nan_count)});
  return {table.to_string(report::TableStyle::plain)};
}

/// Of both parts; what is true of their common files is said once.
std::vector<std::string> notices_of(const data::Dataset& train, const data::Dataset* valid,
                                    const std::string& samples) {
  auto lines = data::notices(train.summary(), samples);
  if (!valid) return lines;
  for (auto& line : data::notices(valid->summary(), samples))
    if (std::ranges::find(lines, line) == lines.end()) lines.push_back("validation: " + std::move(line));
  return lines;
}

std::int64_t trainable(const TrainedNetwork& network) {
  std::int64_t count = 0;
  for (const auto& arena : network.engine->arenas())
    for (const auto& segment : arena.segments())
      if (segment.requires_grad) count += segment.numel;
  return count;
}

/// In the order in which they are asked.
std::string describe_groups(std::span<const optim::ParameterGroup> groups) {
  std::vector<std::string> parts;
  for (const auto& group : groups) parts.push_back(optim::describe(group));
  return fmt::format("{}", fmt::join(parts, "; "));
}

/// What is fed back by --config should train again, not go on in this folder.
std::string configuration(const TrainingPlan& plan) {
  config::Options effective = plan.effective;
  for (const char* name : {"run", "resume", "allow-changed", "reschedule"})
    effective.leave_out(name, "of this run alone");
  return effective.to_toml();
}

/// "peak 0.01 (0.005 at batch 256), one-cycle over 860 steps".
std::string describe_schedule(const TrainingPlan& plan, const TrainedNetwork& network) {
  const double peak = network.optimizer->learning_rate();
  std::string text = fmt::format("peak {:g}", peak);
  if (const double scale = plan.settings.rate_scale(); scale != 1)
    text += fmt::format(" ({:g} at batch {})", peak / scale, plan.settings.reference_batch);
  return fmt::format("{}, {} over {} steps", text, optim::to_string(plan.settings.schedule),
                     plan.length.schedule_steps);
}

/// "20 epochs of 43 steps, 860 steps, batch 256".
std::string describe_length(const TrainingPlan& plan) {
  const auto& length = plan.length;
  return fmt::format("{} epoch{} of {} steps, {} steps in all, batch {}", length.epochs(),
                     length.epochs() == 1 ? "" : "s", length.steps_per_epoch, length.total_steps,
                     plan.settings.batch);
}

/// The sessions of run.json so far: those that it lists, or the one that version 0.1 described.
Json sessions_of(const std::string& before) {
  Json list = Json::array();
  const Json json = Json::parse(before, nullptr, false);
  if (!json.is_object()) return list;
  if (json.contains("sessions") && json["sessions"].is_array()) return json["sessions"];
  Json first = {{"first_step", 0}};
  for (const char* name : {"started", "machine", "world_size", "configuration"})
    if (json.contains(name)) first[name] = json[name];
  list.push_back(std::move(first));
  return list;
}

/// "3: from step 0 on 2 ranks, from step 54 on 3 ranks, ...".
std::string describe_sessions(const Json& sessions) {
  std::vector<std::string> parts;
  for (const auto& session : sessions)
    parts.push_back(fmt::format("from step {} on {} rank{}", session.value("first_step", std::int64_t{0}),
                                session.value("world_size", std::int64_t{1}),
                                session.value("world_size", std::int64_t{1}) == 1 ? "" : "s"));
  return fmt::format("{}: {}", parts.size(), fmt::join(parts, ", "));
}

Json environment(const Session& session) {
  const BuildInfo build = build_info();
  return {{"bunchtrain", fmt::format("{} ({})", build.version, build.git_commit)},
          {"compiler", fmt::format("{} {}", build.compiler, build.build_type)},
          {"CUDA build", build.cuda ? "yes" : "no"},
          {"ranks", fmt::format("{} on {} node{}", session.size(), session.control().num_nodes(),
                                session.control().num_nodes() == 1 ? "" : "s")},
          {"backend", std::string(comm::to_string(session.world().backend()))},
          {"device", device::describe(session.device())},
          {"threads per rank", fmt::format("{} compute, {} loader: {}", session.threads().compute,
                                           session.threads().loader, session.threads().reason)},
          {"precision", std::string(device::to_string(session.precision()))},
          {"kernels", std::string(ops::to_string(session.asked().kernels))},
          {"seed", fmt::format("{}", session.seed())}};
}

struct Row {
  std::string key, text;
};

std::vector<std::string> in_columns(const std::vector<Row>& rows) {
  std::size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.key.size());
  std::vector<std::string> lines;
  for (const auto& row : rows) lines.push_back(fmt::format("{:<{}} {}", row.key, width, row.text));
  return lines;
}

}  // namespace

RunDescription describe_run(const Session& session, const TrainingPlan& plan,
                            std::span<const TrainedNetwork> networks, const data::Dataset& train,
                            const data::Dataset* valid, const std::map<std::string, std::string>& metadata,
                            const RunSession& run) {
  Json summary;
  if (const auto model = metadata.find("model"); model != metadata.end()) summary["Model"] = model->second;
  for (const auto& network : networks) {
    const std::string which = networks.size() == 1 ? "" : fmt::format(" ({})", network.name);
    summary["Parameters" + which] =
        format_integer(trainable(network)) + (network.engine->is_whole() ? "" : " on this rank");
    summary["Optimizer" + which] = network.optimizer->describe();
    if (const auto& groups = network.optimizer->groups(); !groups.empty())
      summary["Parameter groups" + which] = describe_groups(groups);
    summary["Learning rate" + which] = describe_schedule(plan, network);
    summary["Gradients" + which] = network.engine->describe();
  }
  if (const double decay = plan.settings.ema; decay > 0)
    summary["Averaged weights"] =
        fmt::format("decay {:g}: validated, and saved beside the trained ones", decay);
  summary["Length"] = describe_length(plan);
  summary["Training data"] = describe_data(train);
  if (valid) summary["Validation data"] = describe_data(*valid);
  if (!train.summary().labels.empty()) summary["Classes"] = train.summary().labels;
  if (const double factor = train.summary().weight_factor; factor != 1)
    summary["Weights"] = fmt::format("times {:.6g}: mean magnitude 1", factor);
  for (const auto& [name, text] : metadata)
    if (name != "model") summary[name] = text;

  Json session_now = {
      {"started", fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(std::chrono::system_clock::to_time_t(
                                                              std::chrono::system_clock::now())))},
      {"first_step", run.first_step},
      {"machine", fmt::format("{}: {}", host_name(), device::describe(session.device()))},
      {"world_size", session.size()},
      {"configuration", configuration(plan)}};
  Json sessions = sessions_of(run.before);
  sessions.push_back(session_now);
  if (sessions.size() > 1) summary["Sessions"] = describe_sessions(sessions);

  Json json = {{"name", session.options().program()},
               {"started", sessions.front().value("started", session_now["started"])},
               {"machine", session_now["machine"]},
               {"samples", run.samples},
               {"summary", summary},
               {"environment", environment(session)},
               {"seed", session.seed()},
               {"world_size", session.size()},
               {"data_fingerprint", train.summary().fingerprint},
               {"data_paths", train.summary().paths},
               {"configuration", session_now["configuration"]},
               {"sessions", sessions}};
  const auto notices = notices_of(train, valid, run.samples);
  if (!notices.empty()) json["notices"] = notices;
  RunDescription description;
  description.card = train.summary().card;
  if (!description.card.empty()) json["card"] = description.card;
  std::vector<Row> rows;
  for (const auto& part : {summary, json["environment"]})
    for (const auto& [key, value] : part.items()) rows.push_back({key, value.get<std::string>()});
  for (const auto& path : train.summary().paths) rows.push_back({"read by", path});
  for (const auto& notice : notices) rows.push_back({"note", notice});
  description.lines = in_columns(rows);
  for (auto& line : column_lines(train.summary())) description.lines.push_back(std::move(line));
  description.json = json.dump(2) + "\n";
  return description;
}

std::string with_outcome(const std::string& json, const FitResult& result) {
  Json content = Json::parse(json);
  Json outcome = {{"epochs", result.epochs}, {"steps", result.steps}};
  if (result.left_out_steps > 0) outcome["left_out_steps"] = result.left_out_steps;
  if (!result.finished_early.empty()) outcome["early"] = result.finished_early;
  content["finished"] = std::move(outcome);
  return content.dump(2) + "\n";
}

}  // namespace bunchtrain::train
