// SPDX-License-Identifier: Apache-2.0
#include "trainer_run.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "sample_files.hpp"

namespace scaling {

namespace bt = bunchtrain;
namespace fs = std::filesystem;

namespace {

/// As one word of the shell.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char letter : text) result += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return result + "'";
}

std::string quoted(const std::vector<std::string>& texts) {
  std::string result;
  for (const auto& text : texts) result += (result.empty() ? "" : " ") + quoted(text);
  return result;
}

std::string run_name(const Setting& setting, std::int64_t round) {
  return fmt::format("{}-{}-ranks-{}", to_string(setting.mode), setting.ranks, round + 1);
}

std::string filled_in(std::string launcher, const std::string& name, int value) {
  for (auto place = launcher.find(name); place != std::string::npos; place = launcher.find(name))
    launcher.replace(place, name.size(), std::to_string(value));
  return launcher;
}

/// The rate is tiny: the time of a step does not depend on it, and nothing may diverge.
std::string command_line(const Plan& plan, const Setting& setting, const fs::path& run) {
  const SampleFiles files = sample_files(plan, setting);
  return fmt::format(
      "{} {} --data {}{}{} --batch {} --epochs {} --threads {} --learning-rate 1e-6 --schedule constant "
      "--run {} {}",
      filled_in(filled_in(plan.launcher, "{n}", setting.ranks), "{threads}", plan.threads),
      quoted(plan.trainer.string()), quoted(files.train), files.valid.empty() ? "" : " --valid ",
      quoted(files.valid), setting.batch, plan.epochs + 1, plan.threads, quoted(run.string()),
      plan.trainer_options);
}

std::string last_lines(const fs::path& log, int lines) {
  const std::string text = bt::read_text_file(log);
  auto begin = text.size();
  while (begin > 0 && lines > 0)
    if (text[--begin] == '\n' && begin + 1 < text.size()) --lines;
  return text.substr(begin);
}

void execute(const std::string& command, const fs::path& log) {
  const int status = std::system(fmt::format("{} > {} 2>&1", command, quoted(log.string())).c_str());
  if (status == 0) return;
  const std::string how = status != -1 && WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status))
                                                            : std::string("a signal");
  throw bt::Error(fmt::format("a run ended with {}: {}\n{}", how, command, last_lines(log, 10)));
}

StepTime step_time(const bt::report::EpochRow& row, std::int64_t batch) {
  const auto& split = row.split;
  StepTime time{.compute = split.forward + split.backward + split.optimizer,
                .communication = split.communication,
                .data = split.data};
  const double whole = static_cast<double>(batch) / row.samples_per_second;
  time.idle = std::max(0.0, whole - time.total());
  return time;
}

std::vector<StepTime> read_epochs(const fs::path& run, std::int64_t batch) {
  std::vector<StepTime> epochs;
  for (const auto& record : bt::report::read_jsonl(run / "metrics.jsonl")) {
    const auto row = bt::report::parse_epoch_row(record);
    if (row && row->epoch > 1 && std::isfinite(row->samples_per_second))
      epochs.push_back(step_time(*row, batch));
  }
  bt::expects(!epochs.empty(), fmt::format("no epoch in {}", (run / "metrics.jsonl").string()));
  return epochs;
}

}  // namespace

std::vector<StepTime> run_trainer(const Plan& plan, const Setting& setting, std::int64_t round) {
  const fs::path run = plan.out / run_name(setting, round);
  fs::path log = run;
  log += ".log";
  execute(command_line(plan, setting, run), log);
  return read_epochs(run, setting.batch);
}

std::string machine_of_runs(const Plan& plan) {
  const fs::path file = plan.out / run_name(plan.settings.front(), 0) / "run.json";
  return nlohmann::json::parse(bt::read_text_file(file)).value("machine", "unknown machine");
}

}  // namespace scaling
