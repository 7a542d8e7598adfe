// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/data/input_files.hpp"
#include "bunchtrain/data/reading_benchmark.hpp"
#include "bunchtrain/plot/svg_plot.hpp"
#include "parse_number.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

std::vector<data::IoEngine> engines_of(const std::vector<std::string>& names) {
  std::vector<data::IoEngine> engines;
  for (const auto& name : names) {
    if (name == "all") return {};
    engines.push_back(data::parse_io_engine(name));
    if (engines.back() == data::IoEngine::automatic)
      throw ConfigError("engines", name, "all, or some of pread, io_uring, cufile, hdf5");
  }
  return engines;
}

std::vector<int> threads_of(const std::vector<std::string>& words) {
  std::vector<int> threads;
  for (const auto& word : words)
    threads.push_back(static_cast<int>(parse_number("threads", word, "numbers such as 1,2,4")));
  return threads;
}

void print_table(const std::string& file, const data::ReadingBenchmark& benchmark) {
  fmt::print("{}\n  {:<24} {:<28} {:>7} {:>10} {:>10} {:>6}  {}\n", file, "dataset", "way", "threads", "MB/s",
             "bound", "share", "bound by");
  for (const auto& speed : benchmark.speeds)
    fmt::print("  {:<24} {:<28} {:>7} {:>10.4g} {:>10.4g} {:>5.0f}%  {}\n", speed.dataset, speed.way,
               speed.threads, speed.bytes_per_second / 1e6, speed.bound / 1e6,
               100 * speed.bytes_per_second / speed.bound, speed.bound_by);
  for (const auto& reason : benchmark.left_out) fmt::print("  not measured: {}\n", reason);
}

/// Speed over threads, a line for each way.
plot::Plot picture_of(const std::string& file, const data::ReadingBenchmark& benchmark, bool cold) {
  plot::Plot picture{
      .title = fmt::format("{}, {}", std::filesystem::path(file).filename().string(), cold ? "cold" : "warm"),
      .x = {.label = "Threads", .integers = true},
      .y = {.label = "Decoded [MB/s]", .min = 0}};
  std::map<std::string, plot::Series> ways;
  for (const auto& speed : benchmark.speeds) {
    plot::Series& series = ways[speed.dataset + ": " + speed.way];
    series.label = speed.way;
    series.x.push_back(speed.threads);
    series.y.push_back(speed.bytes_per_second / 1e6);
  }
  for (auto& [name, series] : ways) {
    series.mark = series.x.size() > 1 ? plot::Mark::line : plot::Mark::points;
    picture.series.push_back(std::move(series));
  }
  return picture;
}

void measure(const config::Options& given) {
  const auto words = given.get<std::vector<std::string>>("file");
  if (words.empty()) throw ConfigError("file", "", "one HDF5 file or more");
  const auto picture = given.get<std::string>("out");
  const OutputFile output{.path = picture, .option = "out", .force = given.get<bool>("force")};
  if (!picture.empty()) require_writable_output(output);
  const bool cold = given.get<bool>("cold");
  fmt::print(
      "{}; medians of {}; share of the bound: of reading in stored order or decoding alone\n",
      cold ? "cold: pages of the files are dropped before each measurement" : "warm: pages stay in memory",
      given.get<std::int64_t>("repeats"));
  const auto files = data::input_files(words);
  for (const auto& file : files) {
    const data::ReadingBenchmark benchmark =
        data::measure_reading({.file = file.string(),
                               .datasets = given.get<std::vector<std::string>>("datasets"),
                               .engines = engines_of(given.get<std::vector<std::string>>("engines")),
                               .threads = threads_of(given.get<std::vector<std::string>>("threads")),
                               .cold = cold,
                               .repeats = static_cast<int>(given.get<std::int64_t>("repeats"))});
    print_table(file.string(), benchmark);
    if (!picture.empty() && file == files.front())
      write_file_atomically(picture, plot::render_svg(picture_of(file.string(), benchmark, cold)));
  }
}

}  // namespace

int bench_io(int argc, char** argv) {
  config::Options options(
      "bunchtrain bench io",
      "Measures how fast files are read here: each engine and H5Dread, in shuffled blocks, beside "
      "what storage and decoding allow.");
  options.declare(
      {{"file", std::vector<std::string>{}, "HDF5 files", "FILE...", {}, true},
       {"datasets",
        std::vector<std::string>{},
        "which are read; empty = the largest",
        "NAME,NAME...",
        {},
        false,
        true},
       {"engines",
        std::vector<std::string>{"all"},
        "all, or some of pread, io_uring, cufile, hdf5",
        "NAME,NAME...",
        {},
        false,
        true},
       {"threads",
        std::vector<std::string>{"1", "2"},
        "numbers of reading threads",
        "N,N...",
        {},
        false,
        true},
       {"cold", false, "drop the files' pages from memory before each measurement (needs no rights)"},
       {"repeats", std::int64_t{3}, "measurements of which the median is taken", "N"},
       {"out", std::string{}, "an SVG of the first file's speeds", "FILE"},
       {"force", false, "replace a file that something else wrote"}});
  return run_subcommand(std::move(options), argc, argv, measure);
}

}  // namespace bunchtrain::tool
