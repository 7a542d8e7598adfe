// SPDX-License-Identifier: Apache-2.0
// One epoch of jets with features: our loader against what one writes with H5Dread.
//
//   loader_benchmark DATA_FOLDER [threads] [repetitions] [results.json]
//
// Contestants:
// - rows: one H5Dread per jet in shuffled order, as a sampler asks for them (512 jets only: it is slow).
// - in order: the same in stored order, which HDF5's chunk cache may serve, but no training can use.
// - chunks: one H5Dread per group of chunks (at least 64 jets) in stored order, shuffled within the group.
// - ours: DataLoader, shuffled batches of 256, first epoch, nothing kept from before.
//
// All compute the same features from the same columns. Files are opened before the clock starts and lie in
// the page cache. The contestants take turns; the table shows medians.
#include <ATen/Parallel.h>
#include <ATen/ops/randperm.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/core/version.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hdf5_dataset.hpp"
#include "bunchtrain/device/device.hpp"
#include "library_reader.hpp"

namespace {

namespace bt = bunchtrain;
using loader_benchmark::LibraryReader;

constexpr std::int64_t kBatch = 256;
constexpr std::int64_t kRowsTried = 512;  // of the row-wise contestants

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// `count` pieces of work on `threads` threads.
void share_out(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work) {
  std::atomic<std::int64_t> next{0};
  std::vector<std::jthread> workers;
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&] {
      for (std::int64_t piece = next++; piece < count; piece = next++) work(piece);
    });
}

std::vector<std::int64_t> all_rows(std::int64_t count) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return rows;
}

bt::features::FeatureBlock evaluate_selected(const bt::features::FeaturePipeline& pipeline,
                                             const bt::features::RawColumns& raw) {
  std::vector<std::int64_t> kept, labels, keys;
  pipeline.select_rows(raw, kept, labels, keys);
  return pipeline.evaluate(raw, kept);
}

void read_by_row(const LibraryReader& reader, const bt::features::FeaturePipeline& pipeline, int threads,
                 bool shuffled) {
  auto rows = all_rows(reader.rows());
  if (shuffled) {
    bt::RandomSequence random(bt::CounterRandom(1, 1));
    for (std::size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[random.below(i)]);
  }
  rows.resize(static_cast<std::size_t>(std::min(reader.rows(), kRowsTried)));
  const auto batches = (static_cast<std::int64_t>(rows.size()) + kBatch - 1) / kBatch;
  share_out(batches, threads, [&](std::int64_t batch) {
    const auto first = static_cast<std::size_t>(batch * kBatch);
    const auto count = std::min<std::size_t>(kBatch, rows.size() - first);
    evaluate_selected(pipeline, reader.read_each(std::span(rows).subspan(first, count)));
  });
}

void read_by_chunk(const LibraryReader& reader, const bt::features::FeaturePipeline& pipeline, int threads,
                   std::int64_t step) {
  share_out((reader.rows() + step - 1) / step, threads, [&](std::int64_t piece) {
    const std::int64_t first = piece * step;
    const auto block =
        evaluate_selected(pipeline, reader.read_block(first, std::min(step, reader.rows() - first)));
    const auto order = at::randperm(static_cast<std::int64_t>(block.kept_rows.size()), at::kLong);
    for (const auto& [name, tensor] : block.tensors) tensor.index_select(0, order);
  });
}

void read_by_loader(const bt::data::DatasetPtr& dataset, int threads) {
  bt::data::DataLoader loader(dataset, {.global_batch = kBatch, .threads = threads});
  std::int64_t samples = 0;
  while (const auto batch = loader.next()) samples += batch->size();
  bt::expects(samples == dataset->size(), "the loader lost jets");
}

struct Contestant {
  const char* name;
  std::int64_t jets;
  std::function<void()> run;
  std::vector<double> wall = {}, cpu = {};
};

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void time(Contestant& contestant) {
  const double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  contestant.run();
  contestant.wall.push_back(now(CLOCK_MONOTONIC) - wall);
  contestant.cpu.push_back(now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

nlohmann::json measure(const std::string& path, int threads, int repetitions) {
  const bt::data::Hdf5Dataset opened({.files = {path}});
  const auto dataset = opened.all();
  const bt::features::FeaturePipeline pipeline(opened.card());
  const LibraryReader reader(path, pipeline);
  const std::int64_t step = reader.rows_per_block();
  const std::int64_t tried = std::min(reader.rows(), kRowsTried);
  std::vector<Contestant> contestants = {
      {"rows", tried, [&] { read_by_row(reader, pipeline, threads, true); }},
      {"in order", tried, [&] { read_by_row(reader, pipeline, threads, false); }},
      {"chunks", reader.rows(), [&] { read_by_chunk(reader, pipeline, threads, step); }},
      {"ours", reader.rows(), [&] { read_by_loader(dataset, threads); }},
  };
  for (int repetition = 0; repetition < repetitions; ++repetition)
    for (auto& contestant : contestants) time(contestant);
  nlohmann::json row = {{"card", opened.card().name}, {"rows_in_file", reader.rows()}, {"threads", threads}};
  for (const auto& contestant : contestants) {
    row[contestant.name] = static_cast<double>(contestant.jets) / median(contestant.wall);
    row[std::string(contestant.name) + " cpu us per jet"] =
        1e6 * median(contestant.cpu) / static_cast<double>(contestant.jets);
  }
  const auto speed = [&row](const char* name) { return row[name].get<double>(); };
  const auto cost = [&row](const char* name) {
    return row[std::string(name) + " cpu us per jet"].get<double>();
  };
  fmt::print("| {} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.1f} | {:.1f} | {:.2f} | {:.2f} |\n",
             opened.card().name, threads, speed("rows"), speed("in order"), speed("chunks"), speed("ours"),
             speed("ours") / speed("rows"), speed("ours") / speed("in order"),
             speed("ours") / speed("chunks"), cost("chunks") / cost("ours"));
  std::fflush(stdout);
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: loader_benchmark DATA_FOLDER [threads] [repetitions] [results.json]\n");
    return 2;
  }
  const std::string folder = argv[1];
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 5;
  at::set_num_threads(1);
  try {
    const std::string machine = fmt::format("{}; {}, {}", bt::device::describe(c10::Device(c10::kCPU)),
                                            bt::build_info().compiler, bt::build_info().build_type);
    fmt::print("Jets per second with features, {} thread(s), warm cache, medians of {} runs\n\n", threads,
               repetitions);
    fmt::print(
        "| card | threads | rows | in order | chunks | ours | ours / rows | / in order | / chunks | cpu of "
        "chunks / ours |\n");
    fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    nlohmann::json results = {
        {"machine", machine}, {"repetitions", repetitions}, {"results", nlohmann::json::array()}};
    for (const char* file : {"toptagging_val.h5", "cms_ttbar_ak4_jets.h5", "quark_gluon.h5"})
      results["results"].push_back(measure(folder + "/jets/" + file, threads, repetitions));
    fmt::print("\nMachine: {}\n", machine);
    if (argc > 4) std::ofstream(argv[4]) << results.dump(2) << '\n';
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
