// SPDX-License-Identifier: Apache-2.0
/// The `bunchtrain` program: looks at files, makes toy data, evaluates and reports runs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/app/flag_wording.hpp"
#include "bunchtrain/app/run.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/core/version.hpp"
#include "subcommand.hpp"

namespace {

struct Command {
  std::string_view name;
  std::string_view help;
  int (*run)(int, char**);
};

constexpr std::array<Command, 18> kCommands = {{
    {"info", "what this build and this machine can do", bunchtrain::tool::info},
    {"inspect", "what an HDF5 file holds and which data card fits", bunchtrain::tool::inspect},
    {"generate jets", "make toy jets to try the trainers with", bunchtrain::tool::generate_jets},
    {"generate gflash", "make calorimeter showers by GFlash", bunchtrain::tool::generate_gflash},
    {"generate showers", "make calorimeter showers with a trained network",
     bunchtrain::tool::generate_showers},
    {"validate showers", "compare showers, or a generator's, with a reference",
     bunchtrain::tool::validate_showers},
    {"evaluate", "apply a run's best checkpoint to files: table, ROC, scores.h5", bunchtrain::tool::evaluate},
    {"export", "write a network for other programs: bundle, ONNX", bunchtrain::tool::export_network},
    {"score", "apply a bundle to files, without MPI: scores.h5", bunchtrain::tool::score},
    {"models list", "list the bundles of a folder", bunchtrain::tool::models_list},
    {"models show", "print the card of a model in a folder", bunchtrain::tool::models_show},
    {"models add", "copy a bundle into a folder of models, with checksums", bunchtrain::tool::models_add},
    {"models verify", "prove all files of the models in a folder", bunchtrain::tool::models_verify},
    {"repack", "write HDF5 files again so that they are read fast, in shards", bunchtrain::tool::repack},
    {"bench infer", "measure how fast a bundle scores jets or makes showers here",
     bunchtrain::tool::bench_infer},
    {"bench io", "measure how fast files are read here, by each engine", bunchtrain::tool::bench_io},
    {"plan", "predict which layouts of ranks train a network fastest", bunchtrain::tool::plan},
    {"report", "write a run folder's report.html again", bunchtrain::tool::report},
}};

void print_commands(std::FILE* stream, std::string_view family) {
  for (const auto& command : kCommands)
    if (command.name.starts_with(family)) fmt::print(stream, "  {:<16} {}\n", command.name, command.help);
}

void print_usage(std::FILE* stream) {
  fmt::print(
      stream,
      "bunchtrain {}: particle-physics networks trained in C++\n\nUsage: bunchtrain COMMAND [OPTIONS]\n\n",
      bunchtrain::version());
  print_commands(stream, "");
  fmt::print(stream, "\nbunchtrain help COMMAND tells more.\n");
}

bool asks_for_help(std::string_view word) { return word == "--help" || word == "-h" || word == "help"; }

/// "generate" of "generate jets".
bool is_family(std::string_view word) {
  return std::ranges::any_of(kCommands, [&](const Command& command) {
    return command.name.size() > word.size() && command.name.starts_with(word) &&
           command.name[word.size()] == ' ';
  });
}

/// The words of a command line after `bunchtrain`: the command's name is the first one or two of them.
int run_command(std::vector<std::string> words, const char* program) {
  for (const Command& command : kCommands) {
    const auto length = static_cast<std::size_t>(std::ranges::count(command.name, ' ')) + 1;
    if (words.size() < length ||
        fmt::format("{}", fmt::join(words.begin(), words.begin() + length, " ")) != command.name)
      continue;
    words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(length));
    std::string name(program);
    std::vector<char*> argv = {name.data()};
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return command.run(static_cast<int>(argv.size()) - 1, argv.data());
  }
  return -1;
}

/// "; did you mean 'generate jets'?" or nothing.
std::string suggest(const std::vector<std::string>& words) {
  std::vector<std::string> names = {"help"};
  for (const auto& command : kCommands) {
    names.emplace_back(command.name);
    names.emplace_back(command.name.substr(0, command.name.find(' ')));
  }
  std::string near;
  if (words.size() > 1) near = bunchtrain::nearest(words[0] + " " + words[1], names);
  if (near.empty()) near = bunchtrain::nearest(words[0], names);
  return near.empty() || near == words[0] ? "" : fmt::format("; did you mean '{}'?", near);
}

/// Half a command, or none: says what there is.
int refuse(const std::vector<std::string>& words) {
  const std::string& first = words.front();
  const bool family = is_family(first);
  const bool help = family && words.size() > 1 && asks_for_help(words[1]);
  std::FILE* stream = help ? stdout : stderr;
  if (!family || (words.size() > 1 && !help)) {
    const bool both = family && !words[1].starts_with('-');
    fmt::print(stream, "bunchtrain: error: no command '{}{}'{}\n\n", first, both ? " " + words[1] : "",
               suggest(words));
  }
  if (family) {
    fmt::print(stream, "Usage: bunchtrain {} WHAT [OPTIONS]\n\n", first);
    print_commands(stream, first);
    fmt::print(stream, "\nbunchtrain help {} WHAT tells more.\n", first);
  } else {
    print_usage(stream);
  }
  return help ? 0 : bunchtrain::app::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  bunchtrain::app::speak_of_flags();
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || (asks_for_help(words.front()) && words.size() == 1)) {
    print_usage(stdout);
    return 0;
  }
  if (words.front() == "--version") {
    fmt::print("bunchtrain {}\n", bunchtrain::version());
    return 0;
  }
  if (asks_for_help(words.front())) {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  const int code = run_command(words, argv[0]);
  return code >= 0 ? code : refuse(words);
}
