// SPDX-License-Identifier: Apache-2.0
// Weak and strong scaling of a trainer: started once, without mpirun, it launches the trainer on 1 ... N
// ranks and says where the time of a step goes.
//
//   scaling --program particlenet --ranks 1,2 --trainer-options="--model lite" --out scaling-lite
//   scaling --program 3dgan --ranks 1,2,4,8 --launcher "srun -n {n} -c {threads}" --threads 16 --out gan
//
// Or a prediction, from a time of a step and links (machines/*.toml):
//
//   scaling --simulate benchmarks/scaling/machines/v100-cloud.toml --ranks 2,4,8,16,32,64,128 --out prediction
#include <fmt/format.h>

#include <cstdio>
#include <span>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "sample_files.hpp"
#include "scaling_plan.hpp"
#include "scaling_report.hpp"
#include "simulation/prediction_report.hpp"
#include "trainer_run.hpp"

namespace {

namespace bt = bunchtrain;

std::vector<scaling::Point> measure(const scaling::Plan& plan) {
  std::vector<scaling::Point> points;
  for (const auto& setting : plan.settings) points.push_back({.setting = setting, .epochs = {}});
  for (std::int64_t round = 0; round < plan.rounds; ++round) {
    for (auto& point : points) {
      const auto epochs = scaling::run_trainer(plan, point.setting, round);
      point.epochs.insert(point.epochs.end(), epochs.begin(), epochs.end());
      fmt::print("{} scaling, ranks: {}, {} {} per step: {:.1f} {}/s\n", to_string(point.setting.mode),
                 point.setting.ranks, point.setting.batch, plan.program.samples,
                 static_cast<double>(point.setting.batch) / epochs.back().total(), plan.program.samples);
      std::fflush(stdout);
    }
  }
  return points;
}

/// Of the ranks asked for; of those that somebody measured, if none were.
std::string predict(const bt::config::Options& options, const std::string& file, const std::string& command) {
  constexpr std::uint64_t kSeed = 7;
  const auto out = scaling::new_folder(options);
  scaling::Prediction prediction{
      .machine = scaling::calibrated(scaling::staged(scaling::read_machine(file)), kSeed),
      .epochs = {},
      .command = command};
  auto ranks = scaling::rank_counts(options);
  if (!options.given("ranks") && !prediction.machine.measured.empty()) {
    ranks.clear();
    for (const auto& epoch : prediction.machine.measured) ranks.push_back(epoch.ranks);
  }
  for (const int count : ranks) {
    if (count % prediction.machine.stages.pipeline != 0)
      throw bt::ConfigError("ranks", fmt::format("{}", count),
                            fmt::format("multiples of the {} stages", prediction.machine.stages.pipeline));
    prediction.epochs.push_back(scaling::simulate_epoch(prediction.machine, count, kSeed));
  }
  std::filesystem::create_directories(out);
  return write_prediction(out, prediction);
}

std::string command_line(int argc, char** argv) {
  std::string text = "scaling";
  for (const std::string_view argument : std::span(argv + 1, static_cast<std::size_t>(argc - 1))) {
    const std::string_view quote = argument.find(' ') == argument.npos ? "" : "\"";
    text += fmt::format(" {0}{1}{0}", quote, argument);
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    bt::config::Options options("scaling",
                                "Measures weak and strong scaling of a trainer over 1 ... N ranks.");
    options.declare(scaling::scaling_options());
    if (const std::string text = options.parse(argc, argv); !text.empty()) {
      fmt::print("{}", text);
      return 0;
    }
    if (const auto file = options.get<std::string>("simulate"); !file.empty()) {
      fmt::print("{}", predict(options, file, command_line(argc, argv)));
      return 0;
    }
    const scaling::Plan plan = scaling::make_plan(options);
    std::filesystem::create_directories(plan.out);
    scaling::prepare_samples(plan);
    const auto points = measure(plan);
    fmt::print(
        "\n{}\nPlots and data are in {}\n",
        write_report(plan, points, {.machine = machine_of_runs(plan), .command = command_line(argc, argv)}),
        plan.out.string());
  } catch (const bt::ConfigError& error) {
    fmt::print(stderr, "scaling: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "scaling: {}\n", error.what());
    return 1;
  }
}
