// SPDX-License-Identifier: Apache-2.0
// One epoch of showers. Contestants:
// - H5Dread: one H5Dread per chunk into a float buffer, in stored order; nothing else is done.
// - chunks: the same, then images (threshold, scale, power), shuffled within the chunk.
// - ours: DataLoader, shuffled batches of images, first epoch, nothing kept from before.
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/features/shower_pipeline.hpp"
#include "contest.hpp"
#include "contests.hpp"
#include "hdf5_library.hpp"
#include "storage/dataset_layout.hpp"

namespace loader_benchmark {
namespace {

namespace bt = bunchtrain;
using bt::hdf5::check;
using bt::hdf5::LibraryLock;

constexpr std::int64_t kBatch = 64;

/// The cells of a file by H5Dread. Calls of several threads take turns, as in the library itself.
class CellReader {
 public:
  CellReader(const std::string& path, const std::string& dataset) : file_(bt::hdf5::open_read_only(path)) {
    const LibraryLock lock;
    dataset_.reset(check(H5Dopen2(file_.get(), dataset.c_str(), H5P_DEFAULT), dataset));
    layout_ = bt::data::describe_dataset(dataset_.get(), dataset, path);
  }

  std::int64_t rows() const { return static_cast<std::int64_t>(layout_.rows()); }
  std::int64_t rows_per_chunk() const { return static_cast<std::int64_t>(layout_.chunk.at(0)); }
  std::int64_t chunks() const { return (rows() + rows_per_chunk() - 1) / rows_per_chunk(); }
  std::size_t cells() const { return layout_.row_bytes() / layout_.element_bytes; }

  /// Returns the number of showers.
  std::int64_t read(std::int64_t chunk, std::vector<float>& cells) const {
    const LibraryLock lock;
    std::vector<hsize_t> start(layout_.shape.size(), 0), extent(layout_.shape);
    start[0] = static_cast<hsize_t>(chunk * rows_per_chunk());
    extent[0] = std::min<hsize_t>(layout_.chunk[0], layout_.shape[0] - start[0]);
    cells.resize(extent[0] * this->cells());
    const bt::hdf5::Dataspace space(check(H5Dget_space(dataset_.get()), "space"));
    check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr),
          "slab");
    const bt::hdf5::Dataspace memory(
        check(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), "memory"));
    check(H5Dread(dataset_.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT, cells.data()),
          "read");
    return static_cast<std::int64_t>(extent[0]);
  }

 private:
  bt::hdf5::File file_;
  bt::hdf5::Dataset dataset_;
  bt::data::DatasetLayout layout_;
};

void read_by_chunk(const CellReader& reader, int threads, const bt::features::ShowerPipeline* pipeline) {
  share_out(reader.chunks(), threads, [&](std::int64_t chunk) {
    thread_local std::vector<float> cells;
    const std::int64_t count = reader.read(chunk, cells);
    if (pipeline == nullptr) return;
    const auto per_shower = static_cast<std::int64_t>(reader.cells());
    const at::Tensor order = at::randperm(count, at::kLong);
    const at::Tensor images = at::empty({count, per_shower}, at::TensorOptions().dtype(at::kFloat));
    for (std::int64_t i = 0; i < count; ++i)
      pipeline->make_image(
          std::span(cells).subspan(static_cast<std::size_t>(i * per_shower), reader.cells()),
          images.mutable_data_ptr<float>() + order.const_data_ptr<std::int64_t>()[i] * per_shower);
  });
}

nlohmann::json measure(const std::string& path, int threads, int repetitions) {
  const bt::data::ShowerDataset opened({.files = {path}, .threads = threads});
  const auto dataset = opened.all();
  const bt::features::ShowerPipeline pipeline(opened.card());
  const CellReader reader(path, opened.card().cells.front().dataset);
  std::vector<Contestant> contestants = {
      {"H5Dread", reader.rows(), [&] { read_by_chunk(reader, threads, nullptr); }},
      {"chunks", reader.rows(), [&] { read_by_chunk(reader, threads, &pipeline); }},
      {"ours", dataset->size(), [&] { read_by_loader(dataset, kBatch, threads); }},
  };
  let_compete(contestants, repetitions);
  nlohmann::json row = {{"card", opened.card().name}, {"showers", reader.rows()}, {"threads", threads}};
  for (const auto& contestant : contestants) {
    row[contestant.name] = contestant.per_second();
    row[fmt::format("{} cpu us per shower", contestant.name)] = contestant.cpu_microseconds();
  }
  const auto& [alone, chunks, ours] = std::tie(contestants[0], contestants[1], contestants[2]);
  const double gigabytes = 4e-9 * static_cast<double>(reader.cells());
  fmt::print("| {} | {} | {:.0f} | {:.0f} | {:.0f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |\n",
             opened.card().name, threads, alone.per_second(), chunks.per_second(), ours.per_second(),
             ours.per_second() * gigabytes, ours.per_second() / alone.per_second(),
             ours.per_second() / chunks.per_second(), chunks.cpu_microseconds() / ours.cpu_microseconds());
  std::fflush(stdout);
  return row;
}

}  // namespace

nlohmann::json compare_showers(const std::string& data_folder, int threads, int repetitions) {
  fmt::print("\nShowers per second, {} thread(s), warm cache, medians of {} runs\n\n", threads, repetitions);
  fmt::print(
      "| card | threads | H5Dread | chunks | ours | ours, GB of cells/s | ours / H5Dread | ours / chunks | "
      "cpu of chunks / ours |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  auto rows = nlohmann::json::array();
  for (const char* file : {"EleEscan_fixed_10_100_000.h5", "Ele_VarAngleMeas_10_100_000.h5"})
    rows.push_back(measure(data_folder + "/showers/" + file, threads, repetitions));
  return rows;
}

}  // namespace loader_benchmark
