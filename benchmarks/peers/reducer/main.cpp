// SPDX-License-Identifier: Apache-2.0
// Exposed synchronisation and update of a data-parallel step: DataParallel + AdamW of bunchtrain against
// c10d::Reducer + AdamW of PyTorch, over the same MPI, in turns in one process.
//
//   mpirun -n 2 build/bench/benchmarks/peers/reducer/reducer_benchmark [--json FILE]
//
// Exposed time = step - the same forward and backward on a network without hooks, communication and update
// (medians of the slowest rank). The peers: as PyTorch does by default; with the fused AdamW of its Python
// side; with that and DDP's gradient_as_bucket_view. The ratio is to the best of them.

#include <ATen/Parallel.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>
#include <torch/utils.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
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

struct Peer {
  const char* name;
  bt::benchmark::PeerOptions options;
};
constexpr std::array<Peer, 3> kPeers = {
    Peer{"AdamW", {}}, {"fused", {.fused = true}}, {"fused, views", {.fused = true, .bucket_view = true}}};

struct Case {
  std::int64_t width;
  std::int64_t batch;
};

/// Parameters in millions, seconds per step.
struct Result {
  double parameters, bare, ours;
  std::array<double, kPeers.size()> peers;
  std::string plan;
  double exposed() const { return ours - bare; }
  double exposed(std::size_t peer) const { return peers[peer] - bare; }
  double ratio() const { return exposed() / (*std::ranges::min_element(peers) - bare); }
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

Result measure(const Case& size, bt::comm::Communicator& communicator) {
  torch::manual_seed(1);
  const auto make_net = [&] { return std::make_shared<bt::benchmark::Stack>(kLayers, size.width); };
  const auto bare_net = make_net(), our_net = make_net();
  const at::Tensor input = at::randn({size.batch, size.width});
  bt::parallel::DataParallel parallel(our_net, communicator);
  bt::optim::AdamW optimizer(parallel);
  std::array<std::unique_ptr<bt::benchmark::PeerStep>, kPeers.size()> peers;
  for (std::size_t i = 0; i < peers.size(); ++i)
    peers[i] = std::make_unique<bt::benchmark::PeerStep>(make_net(), kPeers[i].options);

  const auto bare_step = [&] {
    bare_net->zero_grad();
    bare_net->loss(input).backward();
  };
  const auto our_step = [&] {
    parallel.backward(our_net->loss(input));
    optimizer.step();
  };

  std::vector<double> bare, ours;
  std::array<std::vector<double>, kPeers.size()> theirs;
  double spent = 0;  // of the slowest rank: the same on all
  const auto time = [&](std::vector<double>& seconds, const std::function<void()>& step) {
    seconds.push_back(timed(communicator.control(), step));
    spent += seconds.back();
  };
  const auto round = [&] {
    time(bare, bare_step);
    time(ours, our_step);
    for (std::size_t i = 0; i < peers.size(); ++i) time(theirs[i], [&] { peers[i]->step(input); });
  };
  for (int warm_up = 0; warm_up < 3; ++warm_up) round();
  for (auto* seconds : {&bare, &ours, &theirs[0], &theirs[1], &theirs[2]}) seconds->clear();
  spent = 0;
  for (int count = 0; count < kMostRounds && (count < kLeastRounds || spent < kSecondsPerSize); ++count)
    round();
  const double parameters = static_cast<double>(kLayers * (size.width * size.width + size.width)) * 1e-6;
  return {parameters,
          median(bare),
          median(ours),
          {median(theirs[0]), median(theirs[1]), median(theirs[2])},
          parallel.describe()};
}

nlohmann::json as_json(const Result& result) {
  nlohmann::json peers;
  for (std::size_t i = 0; i < kPeers.size(); ++i) peers[kPeers[i].name] = result.peers[i];
  return {{"parameters_millions", result.parameters},
          {"bare_seconds", result.bare},
          {"bunchtrain_seconds", result.ours},
          {"peer_seconds", peers},
          {"ratio", result.ratio()},
          {"plan", result.plan}};
}

void report(const std::vector<Result>& results, const std::string& json, const std::string& machine) {
  fmt::print("{}\n\nexposed ms:\n{:>10} {:>10} {:>12}", machine, "parameters", "bare ms", "bunchtrain");
  for (const Peer& peer : kPeers) fmt::print(" {:>18}", fmt::format("c10d, {}", peer.name));
  fmt::print(" {:>7}\n", "ratio");
  double log_sum = 0;
  nlohmann::json rows = nlohmann::json::array();
  for (const Result& result : results) {
    fmt::print("{:>8.2f} M {:>10.3f} {:>12.3f}", result.parameters, result.bare * 1e3,
               result.exposed() * 1e3);
    for (std::size_t i = 0; i < kPeers.size(); ++i) fmt::print(" {:>18.3f}", result.exposed(i) * 1e3);
    fmt::print(" {:>7.3f}   {}\n", result.ratio(), result.plan);
    log_sum += std::log(std::max(result.ratio(), 1e-3));
    rows.push_back(as_json(result));
  }
  const double mean = std::exp(log_sum / static_cast<double>(results.size()));
  fmt::print("geometric mean of the ratios to the best peer {:.3f}\n", mean);
  if (json.empty()) return;
  const nlohmann::json all = {{"machine", machine}, {"results", rows}, {"geometric_mean", mean}};
  bt::write_file_atomically(json, all.dump(2) + "\n");
}

/// The file that --json names, or nothing.
std::string parse(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--json") return argv[2];
  if (argc > 1) {
    fmt::print(stderr, "reducer_benchmark: the one option is --json FILE, not {}\n", argv[1]);
    std::exit(2);
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string json = parse(argc, argv);
  const bt::mpi::Environment environment;
  at::set_num_threads(1);
  auto communicator = bt::comm::Communicator::create(environment.world(), c10::kCPU);
  std::vector<Result> results;
  for (const Case& size : {Case{110, 64}, Case{316, 64}, Case{1000, 64}}) {
    results.push_back(measure(size, communicator));
  }
  if (communicator.rank() == 0) {
    const std::string machine = fmt::format("{}; {} ranks, 1 thread each; {}; LibTorch {}",
                                            bt::device::describe(c10::Device(c10::kCPU)), communicator.size(),
                                            environment.library_version(), TORCH_VERSION);
    report(results, json, machine);
  }
  communicator.close();
}
