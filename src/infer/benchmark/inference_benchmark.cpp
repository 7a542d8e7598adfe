// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/inference_benchmark.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "contenders.hpp"
#include "inference_start.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

using detail::Contender;
using detail::Worker;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

/// Resident memory of the process; 0 where it is not told.
std::int64_t resident_bytes() noexcept {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "r"),
                                                             &std::fclose);
  long long pages = 0;
  if (!file || std::fscanf(file.get(), "%*s %lld", &pages) != 1) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

/// What one thread measured.
struct Record {
  std::vector<double> seconds;
  std::exception_ptr error;

  void attempt(const std::function<void()>& action) noexcept {
    if (error) return;
    try {
      action();
    } catch (...) {
      error = std::current_exception();
    }
  }
};

void call_for(double seconds, const Contender& contender, const Worker& worker, Record& record) {
  const auto begin = Clock::now();
  for (auto now = begin; Seconds(now - begin).count() < seconds;) {
    worker(record.seconds.size() % contender.batches);
    const auto after = Clock::now();
    record.seconds.push_back(Seconds(after - now).count());
    now = after;
  }
}

double quantile(const std::vector<double>& sorted, double fraction) {
  return sorted[static_cast<std::size_t>(fraction * static_cast<double>(sorted.size() - 1) + 0.5)];
}

InferenceSpeed summarise(const Contender& contender, std::span<const Record> records, std::int64_t batch) {
  InferenceSpeed speed{
      .engine = contender.engine, .threads = static_cast<int>(records.size()), .batch = batch};
  std::vector<double> all;
  for (const Record& record : records) {
    if (record.error) std::rethrow_exception(record.error);
    const double busy = std::accumulate(record.seconds.begin(), record.seconds.end(), 0.0);
    speed.samples_per_second += static_cast<double>(std::ssize(record.seconds) * batch) / busy;
    all.insert(all.end(), record.seconds.begin(), record.seconds.end());
  }
  std::ranges::sort(all);
  speed.calls = std::ssize(all);
  speed.p50 = quantile(all, 0.5);
  speed.p99 = quantile(all, 0.99);
  return speed;
}

/// The first call of a thread warms up and is not counted; memory is looked at while all threads hold theirs.
InferenceSpeed measure(const Contender& contender, int threads, std::int64_t batch, double seconds) {
  std::vector<Record> records(static_cast<std::size_t>(threads));
  const std::int64_t before = resident_bytes();
  std::int64_t after = 0;
  std::barrier start(threads);
  std::barrier finish(threads, [&after]() noexcept { after = resident_bytes(); });
  const auto work = [&](Record& record) {
    Worker worker;
    record.attempt([&] {
      worker = contender.make_worker();
      worker(0);
    });
    start.arrive_and_wait();
    record.attempt([&] { call_for(seconds, contender, worker, record); });
    finish.arrive_and_wait();
  };
  {
    std::vector<std::jthread> running;
    for (Record& record : records) running.emplace_back([&work, &record] { work(record); });
  }
  InferenceSpeed speed = summarise(contender, records, batch);
  speed.bytes_per_thread = std::max<std::int64_t>(0, after - before) / threads;
  return speed;
}

void require_all_positive(const char* field, const auto& values) {
  if (values.empty()) throw ConfigError(field, "", "one number or more");
  for (const auto value : values)
    if (value < 1) throw ConfigError(field, fmt::to_string(value), "numbers from 1 on");
}

}  // namespace

void InferenceBenchmarkOptions::validate() const {
  if (bundle.empty()) throw ConfigError("bundle", "", "the folder of a bundle");
  require_all_positive("threads", threads);
  require_all_positive("batches", batches);
  const std::int64_t largest = std::ranges::max(batches), most = detail::kMostJets;
  if (largest > most) throw ConfigError("batches", fmt::to_string(largest), fmt::format("{} at most", most));
  if (jets && largest > jets->rows)
    throw ConfigError("batches", fmt::to_string(largest),
                      fmt::format("{} at most, as many jets as {} has", jets->rows, jets->file));
  if (jets && alike)
    throw ConfigError("alike", "true", "false for jets of a file, which have as many particles as they have");
  if (particles < 1) throw ConfigError("particles", fmt::to_string(particles), "at least 1");
  if (!(seconds > 0)) throw ConfigError("seconds", fmt::to_string(seconds), "more than 0");
}

InferenceBenchmark measure_inference(const InferenceBenchmarkOptions& options) {
  options.validate();
  InferenceBenchmark benchmark{.starts = detail::measure_starts(options),
                               .onnx = detail::measure_export(options.bundle),
                               .jets = {},
                               .speeds = {},
                               .left_out = {}};
  const auto contenders_of = FastGenerator::knows(options.bundle)
                                 ? detail::shower_contenders(options)
                                 : detail::jet_contenders(options, benchmark);
  for (const std::int64_t batch : options.batches)
    for (const Contender& contender : contenders_of(batch))
      for (const int threads : options.threads)
        benchmark.speeds.push_back(measure(contender, threads, batch, options.seconds));
  return benchmark;
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
