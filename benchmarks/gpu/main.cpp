// SPDX-License-Identifier: Apache-2.0
//
// Times the rows P1 to P10 and P12 on one device and prints a JSON object per line; benchmarks/peers/gpu prints the same.
//
//   gpu_bench [--device cuda|cpu] [--rows P1,P4] [--case TEXT] [--precision tf32] [--real N[,N...]] [--small] [--seconds S] [--once]
//   mpirun -n 4 gpu_bench --rows P4        the exposed synchronisation between GPUs
//
// A case that fails is a row with "error"; the exit code is then 1.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "rows.hpp"

namespace {

namespace bt = bunchtrain;
using gpu_bench::Bench;
using gpu_bench::Case;

/// Steps, then their layers.
std::vector<Case> shower_gan_and_layers(const Bench& bench) {
  std::vector<Case> cases = gpu_bench::shower_gan_cases(bench);
  for (Case& layer : gpu_bench::convolution_cases(bench)) cases.push_back(std::move(layer));
  return cases;
}

/// Every row by its name.
const std::map<std::string, std::vector<Case> (*)(const Bench&)> kRows = {
    {"P1", gpu_bench::particle_net_cases}, {"P2", gpu_bench::set_knn_cases},
    {"P3", gpu_bench::large_knn_cases},    {"P4", gpu_bench::update_cases},
    {"P5", shower_gan_and_layers},         {"P6", gpu_bench::batch_norm_cases},
    {"P7", gpu_bench::edge_cases},         {"P8", gpu_bench::arena_cases},
    {"P9", gpu_bench::edge_conv_cases},    {"P10", gpu_bench::diffusion_cases},
    {"P12", gpu_bench::host_time_cases}};

struct Arguments {
  std::string device = "cuda";
  std::vector<std::string> rows;
  std::vector<std::string> precisions;
  std::string part;
  std::vector<std::int64_t> real;
  bool small = false;
  gpu_bench::Effort effort;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times training steps, neighbour searches and updates; one JSON object per line");
  app.add_option("--device", arguments.device)->check(CLI::IsMember({"cuda", "cpu"}));
  for (const auto& [name, cases] : kRows) arguments.rows.push_back(name);
  app.add_option("--rows", arguments.rows)->delimiter(',')->check(CLI::IsMember(arguments.rows));
  app.add_option("--precision", arguments.precisions, "only these")->delimiter(',');
  app.add_option("--case", arguments.part, "only those whose names have this in them");
  app.add_option("--real", arguments.real,
                 "P1, P12: real particles, of the jets in turn; the other slots are padding. Default: all")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_flag("--small", arguments.small, "sizes for a CPU, to see that everything runs");
  app.add_option("--seconds", arguments.effort.seconds, "for each case")->check(CLI::NonNegativeNumber);
  app.add_flag("--once", arguments.effort.once, "one call of each case and no warm-up, for profilers");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  if (arguments.small) {
    arguments.effort.warm_ups = 1;
    arguments.effort.least = 3;
  }
  return arguments;
}

/// One row, measured or failed.
nlohmann::ordered_json row_of(const Case& item, const Bench& bench, const gpu_bench::Effort& effort) {
  nlohmann::ordered_json row = {{"row", item.row},
                                {"case", item.what},
                                {"precision", bt::device::to_string(item.precision)},
                                {"who", item.who},
                                {"device", bt::device::describe(bench.device)}};
  try {
    const auto measured = gpu_bench::measure(item.prepare(), bench.device, effort, bench.world);
    row["median_ms"] = measured.step.median;
    row["low_ms"] = measured.step.low;
    row["high_ms"] = measured.step.high;
    row["repetitions"] = measured.repetitions;
    row["rate"] = 1e3 * item.samples / measured.step.median;
    row["unit"] = item.unit + "/s";
    if (measured.baseline.median > 0) {
      row["baseline_ms"] = measured.baseline.median;
      row["exposed_ms"] = measured.step.median - measured.baseline.median;
    }
  } catch (const std::exception& error) {
    row["error"] = error.what();
  }
  return row;
}

bool wanted(const Case& item, const Arguments& arguments) {
  return item.what.find(arguments.part) != std::string::npos &&
         (arguments.precisions.empty() ||
          std::ranges::find(arguments.precisions, bt::device::to_string(item.precision)) !=
              arguments.precisions.end());
}

int run(const Arguments& arguments, const bt::mpi::Comm& world) {
  const Bench bench{bt::device::choose_device(bt::device::parse_device(arguments.device), world.local_rank()),
                    arguments.small, arguments.real, world};
  bt::device::make_current(bench.device);
  bool failed = false;
  for (const std::string& row : arguments.rows)
    for (const Case& item : kRows.at(row)(bench)) {
      if (!wanted(item, arguments)) continue;
      const auto result = row_of(item, bench, arguments.effort);
      failed = failed || result.contains("error");
      if (world.rank() == 0) fmt::print("{}\n", result.dump());
      std::fflush(stdout);
    }
  return failed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  bt::device::keep_freed_memory();
  try {
    const bt::mpi::Environment environment;
    return run(arguments, environment.world());
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_bench: {}\n", error.what());
    return 1;
  }
}
