// SPDX-License-Identifier: Apache-2.0
// Exposed synchronisation and update of a data-parallel step: DataParallel + AdamW of bunchtrain against
// c10d::Reducer + torch::optim::AdamW, over the same MPI, alternating in one process.
//
//   mpirun -n 2 build/bench/benchmarks/peers/reducer/reducer_benchmark [--bucket-view] [--json FILE]
//
// Exposed time = step - the same forward and backward on a network without hooks, communication and update
// (medians of the slowest rank). --bucket-view: the peer with DDP's gradient_as_bucket_view, which it leaves
// off by default.

#include <ATen/Parallel.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>
#include <torch/utils.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "peer_step.hpp"
#include "stack.hpp"

namespace bt = bunchtrain;

namespace {

constexpr int kLayers = 30;
constexpr double kSecondsPerSize = 12;
constexpr int kLeastRounds = 15;
constexpr int kMostRounds = 200;

struct Options {
  bool bucket_view = false;
  std::string json;
};

struct Case {
  std::int64_t width;
  std::int64_t batch;
};

struct Result {
  double parameters, bare, ours, peer;  ///< parameters in millions, seconds per step
  std::string plan;
  double ratio() const { return (ours - bare) / (peer - bare); }
};

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

/// Seconds of one step on the slowest rank.
double timed(const bt::mpi::Comm& comm, const std::function<void()>& step) {
  comm.barrier();
  const auto start = std::chrono::steady_clock::now();
  step();
  const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(comm.all_max(elapsed.count())) * 1e-9;
}

Result measure(const Case& size, bt::comm::Communicator& communicator, const Options& options) {
  torch::manual_seed(1);
  const auto bare_net = std::make_shared<bt::benchmark::Stack>(kLayers, size.width);
  const auto our_net = std::make_shared<bt::benchmark::Stack>(kLayers, size.width);
  const auto peer_net = std::make_shared<bt::benchmark::Stack>(kLayers, size.width);
  const at::Tensor input = at::randn({size.batch, size.width});
  bt::parallel::DataParallel parallel(our_net, communicator);
  bt::optim::AdamW optimizer(parallel);
  bt::benchmark::PeerStep peer(peer_net, options.bucket_view);

  const auto bare_step = [&] {
    bare_net->zero_grad();
    bare_net->loss(input).backward();
  };
  const auto our_step = [&] {
    parallel.backward(our_net->loss(input));
    optimizer.step();
  };
  const auto peer_step = [&] { peer.step(input); };

  std::vector<double> bare;
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int warm = 0; warm < 3; ++warm) bare_step(), our_step(), peer_step();
  double spent = 0;
  for (int round = 0; round < kMostRounds && (round < kLeastRounds || spent < kSecondsPerSize); ++round) {
    bare.push_back(timed(communicator.control(), bare_step));
    ours.push_back(timed(communicator.control(), our_step));
    theirs.push_back(timed(communicator.control(), peer_step));
    spent += bare.back() + ours.back() + theirs.back();  // of the slowest rank: the same on all
  }
  const double parameters = static_cast<double>(kLayers * (size.width * size.width + size.width)) * 1e-6;
  return {parameters, median(bare), median(ours), median(theirs), parallel.plan_description()};
}

void report(const std::vector<Result>& results, const Options& options, const std::string& machine) {
  fmt::print("{}\n\n", machine);
  fmt::print("{:>10} {:>10} {:>12} {:>12} {:>14} {:>14} {:>7}\n", "parameters", "bare ms", "bunchtrain",
             "c10d+optim", "exposed ours", "exposed peer", "ratio");
  double log_sum = 0;
  nlohmann::json rows = nlohmann::json::array();
  for (const Result& result : results) {
    fmt::print("{:>8.2f} M {:>10.3f} {:>12.3f} {:>12.3f} {:>14.3f} {:>14.3f} {:>7.3f}   {}\n",
               result.parameters, result.bare * 1e3, result.ours * 1e3, result.peer * 1e3,
               (result.ours - result.bare) * 1e3, (result.peer - result.bare) * 1e3, result.ratio(),
               result.plan);
    log_sum += std::log(std::max(result.ratio(), 1e-3));
    rows.push_back({{"parameters_millions", result.parameters},
                    {"bare_seconds", result.bare},
                    {"bunchtrain_seconds", result.ours},
                    {"peer_seconds", result.peer},
                    {"ratio", result.ratio()},
                    {"plan", result.plan}});
  }
  const double mean = std::exp(log_sum / static_cast<double>(results.size()));
  fmt::print("geometric mean of the ratios {:.3f}\n", mean);
  if (options.json.empty()) return;
  const nlohmann::json all = {{"machine", machine},
                              {"bucket_view", options.bucket_view},
                              {"results", rows},
                              {"geometric_mean", mean}};
  bt::write_file_atomically(options.json, all.dump(2) + "\n");
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--bucket-view") options.bucket_view = true;
    if (argument == "--json" && i + 1 < argc) options.json = argv[++i];
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const bt::mpi::Environment environment;
  const Options options = parse(argc, argv);
  at::set_num_threads(1);
  auto communicator = bt::comm::Communicator::create(environment.world(), c10::kCPU);
  std::vector<Result> results;
  for (const Case& size : {Case{110, 64}, Case{316, 64}, Case{1000, 64}}) {
    results.push_back(measure(size, communicator, options));
  }
  if (communicator.rank() == 0) {
    const std::string machine = fmt::format("{}; {} ranks, 1 thread each; {}; LibTorch {}",
                                            bt::device::describe(c10::Device(c10::kCPU)), communicator.size(),
                                            environment.library_version(), TORCH_VERSION);
    report(results, options, machine);
  }
  communicator.close();
}
