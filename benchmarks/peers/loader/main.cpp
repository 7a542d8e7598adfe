// SPDX-License-Identifier: Apache-2.0
// One epoch of jets with features or of shower images: our loader against what one writes with H5Dread.
//
//   loader_benchmark DATA_FOLDER [threads] [repetitions] [jets|showers|all] [results.json]
//   loader_benchmark epoch jets|showers FILE [threads]
//
// Files are opened before the clock starts and lie in the page cache. The contestants take turns;
// the tables show medians.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "contests.hpp"

int main(int argc, char** argv) {
  namespace bt = bunchtrain;
  if (argc < 2) {
    fmt::print(
        stderr,
        "usage: loader_benchmark DATA_FOLDER [threads] [repetitions] [jets|showers|all] [results.json]\n"
        "       loader_benchmark epoch jets|showers FILE [threads]\n");
    return 2;
  }
  const std::string folder = argv[1];
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 5;
  const std::string what = argc > 4 ? argv[4] : "all";
  at::set_num_threads(1);
  try {
    if (folder == "epoch" && argc > 3) {
      const int readers = argc > 4 ? std::atoi(argv[4]) : 1;
      fmt::print("{}\n", loader_benchmark::time_epoch(argv[2], argv[3], readers).dump());
      return 0;
    }
    const std::string machine = fmt::format("{}; {}, {}", bt::device::describe(c10::Device(c10::kCPU)),
                                            bt::build_info().compiler, bt::build_info().build_type);
    nlohmann::json results = {{"machine", machine}, {"repetitions", repetitions}};
    if (what != "showers") results["results"] = loader_benchmark::compare_jets(folder, threads, repetitions);
    if (what != "jets") results["showers"] = loader_benchmark::compare_showers(folder, threads, repetitions);
    fmt::print("\nMachine: {}\n", machine);
    if (argc > 5) std::ofstream(argv[5]) << results.dump(2) << '\n';
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
