// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <optional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/data/raw_jets.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/infer/inference_benchmark.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
#include "parse_number.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

template <class T>
std::vector<T> numbers_of(const config::Options& given, const char* name) {
  std::vector<T> numbers;
  for (const auto& word : given.get<std::vector<std::string>>(name))
    numbers.push_back(static_cast<T>(parse_number(name, word, "numbers such as 1,2,4")));
  return numbers;
}

/// The jets of a file by the card of the bundle; none without a file.
std::optional<features::RawColumns> read_jets(const std::string& file, const std::string& bundle) {
  if (file.empty()) return std::nullopt;
  const std::string card =
      weights::read_bundle_content(bundle).card;  // no engine: its first load is measured
  if (card.empty()) throw ConfigError("data", file, "nothing for a network that scores no jets");
  constexpr std::int64_t kMost = 256;  // no more are looked at
  return data::read_raw_jets(file, features::parse_card(card, bundle), kMost);
}

void print_jets(const infer::InferenceJets& jets) {
  if (jets.count == 0) return;
  fmt::print("  {:<22} {} {}, {} to {} particles, {:.1f} on average\n", "jets", jets.count,
             jets.file.empty() ? "made-up ones" : "of " + jets.file, jets.fewest, jets.most, jets.mean);
}

void print_starts(const infer::InferenceBenchmark& benchmark) {
  for (const auto& start : benchmark.starts)
    fmt::print("  {:<22} loaded and scored a first time in {:.3g} ms, later in {:.3g} ms\n", start.engine,
               1e3 * start.first, 1e3 * start.median);
  const auto& onnx = benchmark.onnx;
  if (onnx.seconds > 0)
    fmt::print("  {:<22} made and proved in {:.3g} s; {} bytes, {} more than the weights' file\n",
               "model.onnx", onnx.seconds, onnx.bytes, onnx.bytes - onnx.weight_bytes);
}

/// Of what as many threads would do as the first measured number of them did; 1 for that itself.
double share_of_linear(const infer::InferenceBenchmark& benchmark, const infer::InferenceSpeed& speed) {
  for (const auto& first : benchmark.speeds)
    if (first.engine == speed.engine && first.batch == speed.batch)
      return speed.samples_per_second / first.samples_per_second * first.threads / speed.threads;
  return 1;
}

void measure(const config::Options& given) {
  at::set_num_threads(1);  // those of the measurement are the only ones
  const auto bundle = given.get<std::string>("bundle");
  const auto jets = read_jets(given.get<std::string>("data"), bundle);
  const auto benchmark = infer::measure_inference({.bundle = bundle,
                                                   .threads = numbers_of<int>(given, "threads"),
                                                   .batches = numbers_of<std::int64_t>(given, "batch"),
                                                   .jets = jets ? &*jets : nullptr,
                                                   .particles = given.get<std::int64_t>("particles"),
                                                   .alike = given.get<bool>("alike"),
                                                   .seconds = given.get<double>("seconds"),
                                                   .onnxruntime = given.get<std::string>("onnxruntime")});
  fmt::print("{}\n", bundle);
  print_jets(benchmark.jets);
  print_starts(benchmark);
  fmt::print("  {:<22} {:>5} {:>7} {:>10} {:>10} {:>8} {:>12} {:>9} {:>10}\n", "engine", "batch", "threads",
             "p50 [ms]", "p99 [ms]", "p99/p50", "per second", "of linear", "MB/thread");
  for (const auto& speed : benchmark.speeds)
    fmt::print("  {:<22} {:>5} {:>7} {:>10.4g} {:>10.4g} {:>8.2f} {:>12.5g} {:>9.2f} {:>10.3g}\n",
               speed.engine, speed.batch, speed.threads, 1e3 * speed.p50, 1e3 * speed.p99,
               speed.p99 / speed.p50, speed.samples_per_second, share_of_linear(benchmark, speed),
               static_cast<double>(speed.bytes_per_thread) / 1e6);
  for (const auto& reason : benchmark.left_out) fmt::print("  not measured: {}\n", reason);
}

}  // namespace

int bench_infer(int argc, char** argv) {
  config::Options options(
      "bunchtrain bench infer",
      "Measures how fast a bundle scores jets, those of a file or made-up ones, or makes showers here: latency, throughput and memory of each engine.");
  options.declare(
      {{"bundle", std::string{}, "folder of the bundle", "FOLDER"},
       {"threads", std::vector<std::string>{"1"}, "numbers of scoring threads", "N,N...", {}, false, true},
       {"batch",
        std::vector<std::string>{"1", "8", "64"},
        "jets or showers of a call",
        "N,N...",
        {},
        false,
        true},
       {"data", std::string{}, "HDF5 file whose first jets are scored; empty: jets are made up", "FILE"},
       {"particles", std::int64_t{50}, "of a made-up jet, on average", "N"},
       {"alike", false, "all made-up jets have as many particles"},
       {"seconds", 1.0, "that each measurement takes"},
       {"onnxruntime", std::string{}, "libonnxruntime.so to measure beside, with the network alone",
        "FILE"}});
  return run_subcommand(std::move(options), argc, argv, measure);
}

}  // namespace bunchtrain::tool
