// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/reading_benchmark.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "io/engine_choice.hpp"
#include "io/slab.hpp"
#include "loader/index_permutation.hpp"
#include "opened_file.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
constexpr std::size_t kMostRowsOneByOne = 256;
constexpr std::size_t kExpectedBlocks = 32;  // told to the engine ahead of reading, as a loader does

double time_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Calls `work` for 0 .. count - 1 on so many threads. The first exception is thrown again.
void on_threads(std::size_t count, int threads, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i)
      workers.emplace_back([&] {
        try {
          for (std::size_t index = next++; index < count; index = next++) work(index);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
          next = count;
        }
      });
  }
  if (failure) std::rethrow_exception(failure);
}

/// One dataset, measured in ways that all read the same blocks.
class Measured {
 public:
  Measured(const ReadingBenchmarkOptions& options, std::string name)
      : options_(options), name_(std::move(name)) {
    const StoredDataset dataset = open(nullptr);
    const std::size_t together = dataset.rows_per_chunk(), row_bytes = dataset.layout().row_bytes();
    const std::size_t rows = together * std::max<std::size_t>(kBlockBytes / (together * row_bytes), 1);
    const std::size_t blocks = (dataset.layout().rows() + rows - 1) / rows;
    const IndexPermutation order(blocks, 1);
    for (std::size_t i = 0; i < blocks && bytes_ < options.most_bytes; ++i) {
      const std::size_t first = order(i) * rows;
      blocks_.push_back({first, std::min(rows, dataset.layout().rows() - first)});
      bytes_ += static_cast<std::int64_t>(blocks_.back().count * row_bytes);
    }
  }

  ReadingSpeed by_engine(const io::Engine& engine, int threads);
  ReadingSpeed by_rows();

 private:
  StoredDataset open(const io::Engine* engine) const {
    return OpenedFile(options_.file, engine).open(name_, true);
  }
  /// The median of several, each with the pages dropped if wanted.
  double median(const std::function<void()>& work) const;
  void drop_pages() const;
  void add_bound(const io::Engine& engine, int threads, ReadingSpeed& speed) const;
  /// As the loader does: storage begins with a block while others are decoded.
  void expect_block(const StoredDataset& dataset, std::size_t i) const;

  const ReadingBenchmarkOptions& options_;
  std::string name_;
  std::vector<RowSpan> blocks_;
  std::int64_t bytes_ = 0;
};

double Measured::median(const std::function<void()>& work) const {
  std::vector<double> seconds;
  for (int i = 0; i < options_.repeats; ++i) {
    if (options_.cold) drop_pages();
    seconds.push_back(time_of(work));
  }
  std::ranges::sort(seconds);
  return std::max(seconds[seconds.size() / 2], 1e-9);
}

// Clean pages of one file go without a right that users lack.
void Measured::drop_pages() const {
  const auto descriptor = FileBytes(options_.file).descriptor();
  if (const int code = ::posix_fadvise(descriptor->number(), 0, 0, POSIX_FADV_DONTNEED); code != 0)
    throw IoError(options_.file + ": its pages cannot be dropped from memory", code);
}

void Measured::expect_block(const StoredDataset& dataset, std::size_t i) const {
  if (i >= blocks_.size()) return;
  ReadPlan plan;
  dataset.plan(blocks_[i].first, blocks_[i].count, plan);
  io::expect(plan);
}

ReadingSpeed Measured::by_engine(const io::Engine& engine, int threads) {
  const StoredDataset dataset = open(&engine);
  const double seconds = median([&] {
    on_threads(blocks_.size(), threads, [&](std::size_t i) {
      expect_block(dataset, i + kExpectedBlocks);
      dataset.read(blocks_[i].first, blocks_[i].count, [](std::size_t, std::size_t, const std::byte*) {});
    });
  });
  ReadingSpeed speed{.dataset = name_,
                     .way = engine.kind() == IoEngine::hdf5 ? "H5Dread by chunks" : dataset.path_text(),
                     .threads = threads,
                     .bytes_per_second = static_cast<double>(bytes_) / seconds,
                     .bound = 0,
                     .bound_by = {}};
  add_bound(engine, threads, speed);
  return speed;
}

// Fetching in stored order without decoding; decoding from memory without fetching.
void Measured::add_bound(const io::Engine& engine, int threads, ReadingSpeed& speed) const {
  const StoredDataset dataset = open(engine.kind() == IoEngine::hdf5 ? nullptr : &engine);
  std::vector<RowSpan> ordered = blocks_;
  std::ranges::sort(ordered, {}, &RowSpan::first);
  const auto plan_of = [&](std::size_t i) {
    ReadPlan plan;
    dataset.plan(ordered[i].first, ordered[i].count, plan);
    return plan;
  };
  const double fetching = median([&] {
    on_threads(ordered.size(), threads, [&](std::size_t i) {
      const ReadPlan plan = plan_of(i);
      io::thread_slab().fetch(plan);
    });
  });
  constexpr std::size_t kSampled = 64;
  const std::size_t sampled = std::min(ordered.size(), kSampled);
  double decoding = 0;
  std::size_t rows = 0, all_rows = 0;
  for (const RowSpan& block : ordered) all_rows += block.count;
  for (std::size_t i = 0; i < sampled; ++i) {
    const ReadPlan plan = plan_of(i);
    std::vector<std::byte> bytes(plan.bytes());
    io::fetch(plan, bytes);
    decoding += time_of([&] {
      PlannedBytes planned(plan, bytes);
      dataset.decode(ordered[i].first, ordered[i].count, planned,
                     [](std::size_t, std::size_t, const std::byte*) {});
    });
    rows += ordered[i].count;
  }
  decoding *= static_cast<double>(all_rows) / static_cast<double>(rows) / threads;
  speed.bound = static_cast<double>(bytes_) / std::max(fetching, decoding);
  speed.bound_by = decoding > fetching ? "decoding" : "storage";
}

ReadingSpeed Measured::by_rows() {
  const StoredDataset dataset = open(&io::hdf5_engine());
  const std::size_t rows = dataset.layout().rows(), count = std::min(rows, kMostRowsOneByOne);
  const IndexPermutation order(rows, 2);
  const double seconds = median([&] {
    for (std::size_t i = 0; i < count; ++i)
      dataset.read(order(i), 1, [](std::size_t, std::size_t, const std::byte*) {});
  });
  ReadingSpeed speed{.dataset = name_,
                     .way = "H5Dread by rows",
                     .threads = 1,
                     .bytes_per_second = static_cast<double>(count * dataset.layout().row_bytes()) / seconds,
                     .bound = 0,
                     .bound_by = {}};
  add_bound(io::hdf5_engine(), 1, speed);
  return speed;
}

std::vector<std::string> chosen_datasets(const ReadingBenchmarkOptions& options) {
  if (!options.datasets.empty()) return options.datasets;
  const OpenedFile file(options.file);
  std::string largest;
  std::size_t most = 0;
  for (const auto& contents : list_contents(options.file)) {
    if (!contents.unreadable.empty()) continue;
    const StoredDataset dataset = file.open(contents.shape.name, true);
    const std::size_t bytes = dataset.layout().rows() * dataset.layout().row_bytes();
    if (bytes > most) largest = contents.shape.name;
    most = std::max(most, bytes);
  }
  if (most == 0) throw DataError(options.file + ": holds no rows that could be read");
  return {largest};
}

}  // namespace

void ReadingBenchmarkOptions::validate() const {
  for (const int number : threads)
    if (number < 1 || number > 1024) throw ConfigError("threads", fmt::format("{}", number), "1 to 1024");
  if (threads.empty()) throw ConfigError("threads", "", "numbers of threads, such as 1,2,4");
  if (repeats < 1) throw ConfigError("repeats", fmt::format("{}", repeats), "at least 1");
  if (most_bytes < 1) throw ConfigError("most_bytes", fmt::format("{}", most_bytes), "at least 1");
}

ReadingBenchmark measure_reading(const ReadingBenchmarkOptions& options) {
  options.validate();
  ReadingBenchmark benchmark;
  for (const std::string& name : chosen_datasets(options)) {
    Measured measured(options, name);
    for (const io::Engine* engine : io::all_engines()) {
      const bool wanted = options.engines.empty() ||
                          std::ranges::find(options.engines, engine->kind()) != options.engines.end();
      if (!wanted) continue;
      try {
        if (const std::string why = engine->unavailable(); !why.empty()) throw DataError(why);
        const bool by_library = engine->kind() == IoEngine::hdf5;
        for (const int threads : by_library ? std::vector{1} : options.threads)
          benchmark.speeds.push_back(measured.by_engine(*engine, threads));
        if (by_library) benchmark.speeds.push_back(measured.by_rows());
      } catch (const DataError& error) {
        benchmark.left_out.push_back(fmt::format("{}: {}", engine->name(), error.message()));
      }
    }
  }
  return benchmark;
}

}  // namespace bunchtrain::data
