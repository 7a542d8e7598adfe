// SPDX-License-Identifier: Apache-2.0
// What snapshots cost: step time that a save beside the steps takes from them, and how fast state is written.
//
//   mpirun -n 2 --bind-to none build/release/benchmarks/micro/checkpoint/checkpoint_benchmark FOLDER [ROUNDS]
//
// FOLDER is on the disk that is meant; about 2 GB of it are used, and nothing is left. Steps are products of matrices, one thread
// per rank; with a save they go on until its files are written, and the same number of steps without one is the measure. The
// disk's own rate is that of as many bytes, written and synchronised by all ranks at once. All take turns; medians of ROUNDS (5).

#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/host_copies.hpp"
#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/version.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace {

namespace bt = bunchtrain;
namespace fs = std::filesystem;

constexpr std::int64_t kStepParameters = 30'000'000, kSaveParameters = 100'000'000;
constexpr std::int64_t kTensors = 64;  ///< of a network
constexpr double kMinute = 60;

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

/// Seconds until the last rank is done.
template <class Action>
double seconds_of_all(const bt::mpi::Comm& ranks, const Action& action) {
  ranks.barrier();
  const auto start = std::chrono::steady_clock::now();
  action();
  const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(ranks.all_max(elapsed.count())) * 1e-9;
}

/// Views of one memory, as the parameters of an arena are.
bt::StateDict state_of(std::int64_t parameters, const std::string& name) {
  const at::Tensor flat = at::rand({parameters});
  bt::StateDict state;
  for (std::int64_t i = 0; i < kTensors; ++i) {
    const std::int64_t begin = parameters * i / kTensors, end = parameters * (i + 1) / kTensors;
    state.tensors.set(fmt::format("{}.{}", name, i), flat.narrow(0, begin, end - begin));
  }
  return state;
}

class Benchmark {
 public:
  Benchmark(const bt::mpi::Comm& ranks, bt::comm::Communicator& world, const fs::path& folder)
      : ranks_(ranks), folder_(folder), store_(folder / "checkpoints", world, {.keep_last = 1}) {}

  /// Seconds that one save beside the steps takes from them.
  void time_stolen(int rounds) {
    const bt::StateDict model = state_of(kStepParameters, "model"),
                        first = state_of(kStepParameters, "exp_avg"),
                        second = state_of(kStepParameters, "exp_avg_sq");
    bt::checkpoint::HostCopies copies;
    std::vector<double> stolen, copied;
    for (int round = 0; round <= rounds; ++round) {
      std::int64_t steps = 0;
      double copying = 0;
      const double with = seconds_of_all(ranks_, [&] {
        copying = seconds_of_all(ranks_, [&] {
          store_.begin({.step = ++saves_,
                        .components = {{"model", copies.copy(model)},
                                       {"exp_avg", copies.copy(first)},
                                       {"exp_avg_sq", copies.copy(second)}}});
        });
        do {
          step();
          ++steps;
        } while (ranks_.all_min(store_.written() ? 1 : 0) == 0);
        store_.commit();
      });
      const double without = seconds_of_all(ranks_, [&] {
        for (std::int64_t i = 0; i < steps; ++i) {
          step();
          ranks_.all_min(1);
        }
      });
      if (round == 0) continue;  // memory is new
      stolen.push_back(with - without);
      copied.push_back(copying);
    }
    if (ranks_.rank() == 0)
      fmt::print("| {} M and two moments | {} | {:.3f} | {:.3f} | {:.2f} |\n", kStepParameters / 1'000'000,
                 ranks_.size(), median(copied), median(stolen), 100 * median(stolen) / kMinute);
  }

  /// A save that waits, against the disk.
  void rate(int rounds) {
    const bt::StateDict model = state_of(kSaveParameters, "model");
    const double bytes = 4.0 * static_cast<double>(kSaveParameters);
    std::vector<double> saved, written;
    for (int round = 0; round <= rounds; ++round) {
      const double save = seconds_of_all(ranks_, [&] {
        store_.save({.step = ++saves_, .components = {{"model", model}}});
      });
      const double plain =
          seconds_of_all(ranks_, [&] { write_plainly(kSaveParameters * 4 / ranks_.size()); });
      if (round == 0) continue;
      saved.push_back(bytes / save * 1e-6);
      written.push_back(bytes / plain * 1e-6);
    }
    if (ranks_.rank() == 0)
      fmt::print("| {} M | {} | {:.0f} | {:.0f} | {:.2f} |\n", kSaveParameters / 1'000'000, ranks_.size(),
                 median(saved), median(written), median(saved) / median(written));
  }

 private:
  void step() { product_ = at::mm(left_, right_); }

  /// What the disk takes without hashes, manifests and folders.
  void write_plainly(std::int64_t bytes) {
    const fs::path path = folder_ / fmt::format("plain-{}", ranks_.rank());
    const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (file < 0) throw bt::IoError("cannot write " + path.string(), errno);
    for (std::int64_t done = 0; done < bytes;) {
      const auto piece = static_cast<std::size_t>(std::min<std::int64_t>(bytes - done, left_.nbytes()));
      const ssize_t count = ::write(file, left_.const_data_ptr(), piece);
      if (count <= 0) throw bt::IoError("cannot write " + path.string(), errno);
      done += count;
    }
    ::fsync(file);
    ::close(file);
    fs::remove(path);
  }

  const bt::mpi::Comm& ranks_;
  fs::path folder_;
  bt::checkpoint::Store store_;
  std::int64_t saves_ = 0;
  at::Tensor left_ = at::rand({1024, 1024}), right_ = at::rand({1024, 1024}), product_;
};

}  // namespace

int main(int argc, char** argv) {
  bt::mpi::Environment environment;
  const bt::mpi::Comm& ranks = environment.world();
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  if (argc < 2 || argc > 3 || rounds < 1) {
    if (ranks.rank() == 0) fmt::print(stderr, "usage: checkpoint_benchmark FOLDER [ROUNDS]\n");
    return 2;
  }
  at::set_num_threads(1);
  const fs::path folder = fs::path(argv[1]) / "checkpoint_benchmark";
  if (ranks.rank() == 0) fs::create_directories(folder);
  auto world = bt::comm::Communicator::create(ranks, c10::kCPU);
  {
    Benchmark benchmark(ranks, world, folder);
    if (ranks.rank() == 0)
      fmt::print(
          "| parameters | ranks | copy (s) | stolen by a save (s) | of the steps, at one a minute (%) |\n| --- | --- | --- | --- | --- |\n");
    benchmark.time_stolen(rounds);
    if (ranks.rank() == 0)
      fmt::print(
          "\n| parameters | ranks | saved (MB/s) | the disk alone (MB/s) | ratio |\n| --- | --- | --- | --- | --- |\n");
    benchmark.rate(rounds);
  }
  if (ranks.rank() == 0)
    fmt::print("\nMachine: {}; {}, {}; medians of {} rounds\n", bt::device::describe(c10::Device(c10::kCPU)),
               bt::build_info().compiler, bt::build_info().build_type, rounds);
  world.close();
  ranks.barrier();
  if (ranks.rank() == 0) fs::remove_all(folder);
}
