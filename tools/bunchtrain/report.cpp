// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/report/run_report.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {

int report(int argc, char** argv) {
  config::Options options("bunchtrain report", "Writes report.html of run folders from what they hold.");
  options.declare({{"run", std::vector<std::string>{}, "run folders", "FOLDER...", {}, true},
                   {"force", false, "replace a report.html that something else wrote"}});
  return run_subcommand(std::move(options), argc, argv, [](const config::Options& given) {
    const auto& folders = given.get<std::vector<std::string>>("run");
    if (folders.empty()) throw ConfigError("run", "", "at least one run folder");
    for (const std::filesystem::path folder : folders) {
      require_writable_output({.path = folder / "report.html",
                               .force = given.get<bool>("force"),
                               .is_own = bunchtrain::report::is_page});
      fmt::print("{}\n", bunchtrain::report::render_run(folder).string());
    }
  });
}

}  // namespace bunchtrain::tool
