// SPDX-License-Identifier: Apache-2.0
#include "scaling_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "bunchtrain/core/error.hpp"

namespace scaling {

namespace fs = std::filesystem;
using bunchtrain::ConfigError;
using bunchtrain::config::Options;

namespace {

const std::array<Program, 2>& programs() {
  static const std::array<Program, 2> all{
      {{"particlenet", "train_particlenet", "jets"}, {"3dgan", "train_3dgan", "showers"}}};
  return all;
}

const Program& find_program(const std::string& name) {
  const auto found = std::ranges::find(programs(), name, &Program::name);
  if (found == programs().end()) throw ConfigError("program", name, "particlenet or 3dgan");
  return *found;
}

/// build/benchmarks/scaling/scaling stands beside build/examples/.
fs::path find_trainer(const Options& options, const Program& program) {
  const auto given = options.get<std::string>("trainer");
  const fs::path own = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path trainer =
      given.empty() ? own.parent_path().parent_path() / "examples" / program.executable : fs::path(given);
  if (!fs::exists(trainer))
    throw ConfigError("trainer", trainer.string(),
                      fmt::format("an existing program; build it with: cmake --build BUILD_DIR --target {}",
                                  program.executable));
  return fs::absolute(trainer);
}

std::int64_t positive(const Options& options, const std::string& name) {
  const auto value = options.get<std::int64_t>(name);
  if (value < 1) throw ConfigError(name, std::to_string(value), "1 or more");
  return value;
}

std::vector<Setting> settings(const Options& options) {
  const auto counts = rank_counts(options);
  const auto mode = options.get<std::string>("mode");
  const std::int64_t batch = positive(options, "batch");
  std::int64_t shared = options.get<std::int64_t>("global-batch");
  if (shared == 0) shared = batch * counts.back();
  if (shared < counts.back())
    throw ConfigError("global-batch", std::to_string(shared), "at least one sample for every rank");
  std::vector<Setting> result;
  for (const int ranks : counts)
    if (mode != "strong") result.push_back({Mode::weak, ranks, batch * ranks});
  for (const int ranks : counts)
    if (mode != "weak") result.push_back({Mode::strong, ranks, shared});
  return result;
}

}  // namespace

std::vector<int> rank_counts(const Options& options) {
  std::vector<int> counts;
  for (const auto& text : options.get<std::vector<std::string>>("ranks")) {
    const char* const end = text.data() + text.size();
    for (const char* place = text.data(); place < end; ++place) {
      int count = 0;
      const auto [stop, error] = std::from_chars(place, end, count);
      if (error != std::errc{} || count < 1 || (stop != end && *stop != ','))
        throw ConfigError("ranks", text, "numbers of ranks: 1 2 4, or 1,2,4");
      counts.push_back(count);
      place = stop;
    }
  }
  std::ranges::sort(counts);
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  if (counts.empty()) throw ConfigError("ranks", "", "numbers of ranks: 1 2 4, or 1,2,4");
  return counts;
}

std::filesystem::path new_folder(const Options& options) {
  const fs::path out = options.get<std::string>("out");
  if (out.empty() || fs::exists(out))
    throw ConfigError("out", out.string(), "the name of a new folder for the results");
  return out;
}

std::string to_string(Mode mode) { return mode == Mode::weak ? "weak" : "strong"; }

std::vector<bunchtrain::config::OptionSpec> scaling_options() {
  using Integer = std::int64_t;
  using Text = std::string;
  using Texts = std::vector<std::string>;
  return {
      {"program", Text{"particlenet"}, "the trainer to measure", "", {"particlenet", "3dgan"}},
      {"trainer", Text{}, "its executable; empty = the one of this build", "FILE"},
      {"ranks", Texts{"1", "2"}, "numbers of ranks to compare", "N..."},
      {"mode",
       Text{"both"},
       "weak: the same work per rank; strong: the same work per step",
       "",
       {"weak", "strong", "both"}},
      {"batch", Integer{64}, "samples per rank and step in weak scaling"},
      {"global-batch", Integer{0}, "samples per step in strong scaling; 0 = --batch times the most ranks"},
      {"threads", Integer{1}, "compute threads of every rank, for any number of ranks"},
      {"launcher", Text{"mpirun -n {n} --map-by slot:PE={threads} --bind-to core"},
       "starts the ranks; {n} and {threads} are filled in: srun -n {n} -c {threads}", "COMMAND"},
      {"trainer-options", Text{}, "passed on: --trainer-options=\"--model lite --precision bfloat16\"",
       "TEXT"},
      {"data", Texts{}, "HDF5 files to train on; without them samples are made and written first", "FILE..."},
      {"valid", Texts{}, "HDF5 files to validate on, if --data is given", "FILE..."},
      {"steps", Integer{10}, "steps per epoch of made samples"},
      {"epochs", Integer{3}, "measured epochs per run; one more before them warms up"},
      {"rounds", Integer{1}, "runs of every setting, in turns; medians are over all their epochs"},
      {"simulate", Text{},
       "predict epochs on this machine instead of measuring any; --ranks and --out alone are asked for",
       "MACHINE.toml"},
      {"out", Text{}, "folder for results and runs; must be new", "FOLDER"},
  };
}

Plan make_plan(const Options& options) {
  Plan plan;
  plan.program = find_program(options.get<std::string>("program"));
  plan.trainer = find_trainer(options, plan.program);
  plan.launcher = options.get<std::string>("launcher");
  if (plan.launcher.find("{n}") == std::string::npos)
    throw ConfigError("launcher", plan.launcher, "a command with {n} where the number of ranks goes");
  plan.trainer_options = options.get<std::string>("trainer-options");
  plan.settings = settings(options);
  plan.data = options.get<std::vector<std::string>>("data");
  plan.valid = options.get<std::vector<std::string>>("valid");
  plan.threads = static_cast<int>(positive(options, "threads"));
  plan.steps = positive(options, "steps");
  plan.epochs = positive(options, "epochs");
  plan.rounds = positive(options, "rounds");
  plan.out = new_folder(options);
  return plan;
}

}  // namespace scaling
