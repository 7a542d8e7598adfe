// SPDX-License-Identifier: Apache-2.0
// Weak and strong scaling of a trainer: started once, without mpirun, it launches the trainer on 1 ... N
// ranks and says where the time of a step goes.
//
//   scaling --program particlenet --ranks 1,2 --trainer-options="--model lite" --out scaling-lite
//   scaling --program 3dgan --ranks 1,2,4,8 --launcher "srun -n {n} -c {threads}" --threads 16 --out gan
#include <fmt/format.h>

#include <cstdio>
#include <span>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "sample_files.hpp"
#include "scaling_plan.hpp"
#include "scaling_report.hpp"
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
