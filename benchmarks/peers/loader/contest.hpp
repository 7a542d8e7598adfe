// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Contestants that take turns on the same data, and the median of their times.

#include <ctime>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"

namespace loader_benchmark {

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// `count` pieces of work on `threads` threads.
inline void share_out(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work) {
  std::atomic<std::int64_t> next{0};
  std::vector<std::jthread> workers;
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&] {
      for (std::int64_t piece = next++; piece < count; piece = next++) work(piece);
    });
}

/// An epoch of shuffled batches, first to last.
inline void read_by_loader(const bunchtrain::data::DatasetPtr& dataset, std::int64_t batch, int threads) {
  bunchtrain::data::DataLoader loader(dataset, {.global_batch = batch, .threads = threads});
  std::int64_t samples = 0;
  while (const auto next = loader.next()) samples += next->size();
  bunchtrain::expects(samples == dataset->size(), "the loader lost samples");
}

struct Contestant {
  const char* name;
  std::int64_t samples;
  std::function<void()> run;
  std::vector<double> wall = {}, cpu = {};

  double per_second() const { return static_cast<double>(samples) / median(wall); }
  double cpu_microseconds() const { return 1e6 * median(cpu) / static_cast<double>(samples); }
};

/// Every contestant once per repetition, in turn.
inline void let_compete(std::vector<Contestant>& contestants, int repetitions) {
  const auto now = [](clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  for (int repetition = 0; repetition < repetitions; ++repetition)
    for (auto& contestant : contestants) {
      const double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
      contestant.run();
      contestant.wall.push_back(now(CLOCK_MONOTONIC) - wall);
      contestant.cpu.push_back(now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
}

}  // namespace loader_benchmark
