// SPDX-License-Identifier: Apache-2.0
// One epoch of jets with features. Contestants:
// - rows: one H5Dread per jet in shuffled order, as a sampler asks for them (512 jets only: it is slow).
// - in order: the same in stored order, which HDF5's chunk cache may serve, but no training can use.
// - chunks: one H5Dread per group of chunks (at least 64 jets) in stored order, shuffled within the group.
// - ours: DataLoader, shuffled batches of 256, first epoch, nothing kept from before.
// All compute the same features from the same columns.
#include <ATen/ops/randperm.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "contest.hpp"
#include "contests.hpp"
#include "library_reader.hpp"

namespace loader_benchmark {
namespace {

namespace bt = bunchtrain;

constexpr std::int64_t kBatch = 256;
constexpr std::int64_t kRowsTried = 512;  // of the row-wise contestants

std::vector<std::int64_t> all_rows(std::int64_t count) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return rows;
}

bt::features::FeatureBlock evaluate_selected(const bt::features::FeaturePipeline& pipeline,
                                             const bt::features::RawColumns& raw) {
  bt::features::RowSelection selection;
  pipeline.select_rows(raw, selection);
  return pipeline.evaluate(raw, selection.kept);
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

nlohmann::json measure(const std::string& path, int threads, int repetitions) {
  const bt::data::JetDataset opened({.files = {path}});
  const auto dataset = opened.all();
  const bt::features::FeaturePipeline pipeline(opened.card());
  const LibraryReader reader(path, pipeline);
  const std::int64_t step = reader.rows_per_block();
  const std::int64_t tried = std::min(reader.rows(), kRowsTried);
  std::vector<Contestant> contestants = {
      {"rows", tried, [&] { read_by_row(reader, pipeline, threads, true); }},
      {"in order", tried, [&] { read_by_row(reader, pipeline, threads, false); }},
      {"chunks", reader.rows(), [&] { read_by_chunk(reader, pipeline, threads, step); }},
      {"ours", reader.rows(), [&] { read_by_loader(dataset, kBatch, threads); }},
  };
  let_compete(contestants, repetitions);
  nlohmann::json row = {{"card", opened.card().name}, {"rows_in_file", reader.rows()}, {"threads", threads}};
  for (const auto& contestant : contestants) {
    row[contestant.name] = contestant.per_second();
    row[fmt::format("{} cpu us per jet", contestant.name)] = contestant.cpu_microseconds();
  }
  const auto speed = [&row](const char* name) { return row[name].get<double>(); };
  const auto cost = [&row](const char* name) {
    return row[fmt::format("{} cpu us per jet", name)].get<double>();
  };
  fmt::print("| {} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.1f} | {:.1f} | {:.2f} | {:.2f} |\n",
             opened.card().name, threads, speed("rows"), speed("in order"), speed("chunks"), speed("ours"),
             speed("ours") / speed("rows"), speed("ours") / speed("in order"),
             speed("ours") / speed("chunks"), cost("chunks") / cost("ours"));
  std::fflush(stdout);
  return row;
}

}  // namespace

nlohmann::json compare_jets(const std::string& data_folder, int threads, int repetitions) {
  fmt::print("Jets per second with features, {} thread(s), warm cache, medians of {} runs\n\n", threads,
             repetitions);
  fmt::print(
      "| card | threads | rows | in order | chunks | ours | ours / rows | / in order | / chunks | cpu of "
      "chunks / ours |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  auto rows = nlohmann::json::array();
  for (const char* file : {"toptagging_val.h5", "cms_ttbar_ak4_jets.h5", "quark_gluon.h5"})
    rows.push_back(measure(data_folder + "/jets/" + file, threads, repetitions));
  return rows;
}

}  // namespace loader_benchmark
