// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/report/comparison.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/train/run_page.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

namespace fs = std::filesystem;

std::vector<bunchtrain::report::ComparedRun> read_runs(const std::vector<std::string>& folders) {
  std::vector<bunchtrain::report::ComparedRun> runs;
  for (const std::string& folder : folders)
    runs.push_back({.name = fs::path(folder).lexically_normal().string(), .report = train::read_run(folder)});
  return runs;
}

/// What --out of this run may not replace.
OutputFile page_of(const config::Options& given, const fs::path& path, std::vector<fs::path> inputs) {
  return {.path = path,
          .option = "out",
          .inputs = std::move(inputs),
          .force = given.get<bool>("force"),
          .is_own = bunchtrain::report::is_page};
}

void write_comparison(const config::Options& given, const std::vector<std::string>& folders) {
  const std::string name = given.get<std::string>("out");
  const fs::path path = name.empty() ? "comparison.html" : name;
  std::vector<fs::path> inputs;
  for (const fs::path folder : folders)
    for (const char* file : {"run.json", "metrics.jsonl", "sections.json", "card.toml", "checkpoints"})
      inputs.push_back(folder / file);
  require_writable_output(page_of(given, path, std::move(inputs)));
  write_file_atomically(
      path, bunchtrain::report::render_html(bunchtrain::report::compare_runs(read_runs(folders))));
  fmt::print("{}\n", path.string());
}

}  // namespace

int report(int argc, char** argv) {
  config::Options options(
      "bunchtrain report",
      "Writes report.html of run folders from what they hold; of several also one page that "
      "compares them.");
  options.declare(
      {{"run", std::vector<std::string>{}, "run folders", "FOLDER...", {}, true},
       {"out", std::string{}, "where the page of several runs goes; empty = comparison.html", "FILE"},
       {"force", false, "replace a page that something else wrote"}});
  return run_subcommand(std::move(options), argc, argv, [](const config::Options& given) {
    const auto& folders = given.get<std::vector<std::string>>("run");
    if (folders.empty()) throw ConfigError("run", "", "at least one run folder");
    if (folders.size() == 1 && !given.get<std::string>("out").empty())
      throw ConfigError("out", given.get<std::string>("out"),
                        "nothing: the page of one run is report.html in its folder");
    for (const fs::path folder : folders) {
      OutputFile page = page_of(given, folder / "report.html", {});
      page.option.clear();
      require_writable_output(page);
      fmt::print("{}\n", train::render_run(folder).string());
    }
    if (folders.size() > 1) write_comparison(given, folders);
  });
}

}  // namespace bunchtrain::tool
