// SPDX-License-Identifier: Apache-2.0
/// The `bunchtrain` program: looks at files, makes toy data, evaluates and reports runs.
#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/app/run.hpp"
#include "bunchtrain/config/suggest.hpp"
#include "bunchtrain/core/version.hpp"
#include "subcommand.hpp"

namespace {

struct Command {
  std::string_view name;
  std::string_view help;
  int (*run)(int, char**);
};

constexpr std::array<Command, 8> kCommands = {{
    {"info", "what this build and this machine can do", bunchtrain::tool::info},
    {"inspect", "what an HDF5 file holds and which data card fits", bunchtrain::tool::inspect},
    {"generate jets", "make toy jets to try the trainers with", bunchtrain::tool::generate_jets},
    {"generate gflash", "make calorimeter showers by GFlash", bunchtrain::tool::generate_gflash},
    {"generate showers", "make calorimeter showers with a trained 3DGAN", bunchtrain::tool::generate_showers},
    {"validate showers", "compare showers, or a generator's, with a reference",
     bunchtrain::tool::validate_showers},
    {"evaluate", "apply a run's best checkpoint to files: table, ROC, scores.h5", bunchtrain::tool::evaluate},
    {"report", "write a run folder's report.html again", bunchtrain::tool::report},
}};

void print_usage(std::FILE* stream) {
  fmt::print(
      stream,
      "bunchtrain {}: particle-physics networks trained in C++\n\nUsage: bunchtrain COMMAND [OPTIONS]\n\n",
      bunchtrain::version());
  for (const auto& command : kCommands) fmt::print(stream, "  {:<16} {}\n", command.name, command.help);
  fmt::print(stream, "\nbunchtrain COMMAND --help tells more.\n");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "--help";
  if (first == "--help" || first == "-h") {
    print_usage(stdout);
    return 0;
  }
  if (first == "--version") {
    fmt::print("bunchtrain {}\n", bunchtrain::version());
    return 0;
  }
  const std::string both = argc > 2 ? fmt::format("{} {}", first, argv[2]) : std::string(first);
  std::vector<std::string> names;
  for (const auto& command : kCommands) {
    if (command.name == first) return command.run(argc - 1, argv + 1);
    if (command.name == both) return command.run(argc - 2, argv + 2);
    names.emplace_back(command.name);
  }
  const std::string near = bunchtrain::config::nearest(first, names);
  fmt::print(stderr, "bunchtrain: error: no command '{}'{}\n\n", first,
             near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  print_usage(stderr);
  return bunchtrain::app::kExitUsage;
}
