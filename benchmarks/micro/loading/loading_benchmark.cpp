// SPDX-License-Identifier: Apache-2.0
// What loading costs that `bunchtrain bench io` does not measure.
//
//   loading_benchmark make FOLDER [ROWS]            images [ROWS, 25, 25, 25] contiguous, in chunks of 16 rows, and deflated
//   loading_benchmark bound jets|showers FILE THREADS [ROUNDS [STORED_FILE]]   an epoch with features and batches, and its
//                                                   bound; cold: the pages of STORED_FILE are dropped before
//   loading_benchmark flat jets|showers FILE [BATCHES]           memory over many batches
//   loading_benchmark files FOLDER [COUNT]          opening that many files of 20 jets, and an epoch of them
//   loading_benchmark map FOLDER                    opening a dataset of a million chunks, without and with a kept map
//
// The bound of an epoch is what takes longer: fetching its bytes in stored order by as many threads, or its processor time
// (fetching, decoding, features, collation) shared by them. Files that are missing are made. Medians of ROUNDS (5).
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/core/version.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/device/device.hpp"
#include "io/slab.hpp"
#include "storage/kept_maps.hpp"
#include "storage/opened_file.hpp"

namespace {

namespace bt = bunchtrain;
namespace fs = std::filesystem;
using Words = std::vector<std::string>;

double seconds_of(const auto& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

std::int64_t number(const Words& words, std::size_t place, std::int64_t otherwise) {
  return words.size() > place ? std::atoll(words[place].c_str()) : otherwise;
}

/// One image in ten cells has something, as showers have.
void write_images(const std::string& path, hsize_t rows, bool chunked, bool deflated) {
  constexpr hsize_t kSide = 25, kTogether = 16, kCells = kSide * kSide * kSide;
  const hsize_t shape[] = {rows, kSide, kSide, kSide}, chunk[] = {kTogether, kSide, kSide, kSide};
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(4, shape, nullptr), memory = H5Screate_simple(4, chunk, nullptr);
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  if (chunked) H5Pset_chunk(create, 4, chunk);
  if (deflated) H5Pset_deflate(create, 4);
  const hid_t dataset = H5Dcreate2(file, "cells", H5T_IEEE_F32LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
  std::vector<float> cells(kTogether * kCells);
  for (hsize_t row = 0; row + kTogether <= rows; row += kTogether) {
    bt::RandomSequence random(bt::CounterRandom(5, row));
    for (float& cell : cells) cell = random.below(10) == 0 ? static_cast<float>(random.uniform()) : 0.0F;
    const hsize_t first[] = {row, 0, 0, 0};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, first, nullptr, chunk, nullptr);
    bt::expects(H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, cells.data()) >= 0,
                "the disk is full");
  }
  H5Dclose(dataset);
  H5Pclose(create);
  H5Sclose(space);
  H5Sclose(memory);
  H5Fclose(file);
}

void make(const Words& words) {
  const auto rows = static_cast<hsize_t>(number(words, 2, 20480)) / 16 * 16;
  for (const auto& [name, chunked, deflated] :
       {std::tuple("contiguous", false, false), std::tuple("chunks16", true, false),
        std::tuple("deflate", true, true)}) {
    const std::string path = fmt::format("{}/{}.h5", words.at(1), name);
    write_images(path, rows, chunked, deflated);
    fmt::print("{}: {:.2f} GB\n", path, 1e-9 * static_cast<double>(fs::file_size(path)));
  }
}

bt::data::DatasetPtr open(const std::string& kind, const std::string& file, int threads) {
  if (kind == "jets") return bt::data::JetDataset({.files = {file}, .threads = threads}).all();
  return bt::data::ShowerDataset({.files = {file}, .physical = true, .threads = threads}).all();
}

/// Every range once, in stored order, without decoding.
double fetch_seconds(const bt::data::Dataset& dataset, int threads) {
  return seconds_of([&] {
    std::atomic<std::size_t> next = 0;
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i)
      workers.emplace_back([&] {
        for (std::size_t range = next++; range < dataset.ranges().size(); range = next++) {
          const bt::data::ReadPlan plan = dataset.plan(range);
          bt::data::io::thread_slab().fetch(plan);
        }
      });
  });
}

/// Clean pages go without a right that users lack.
void drop_pages(const std::string& file) {
  const int number = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  bt::expects(number >= 0 && ::posix_fadvise(number, 0, 0, POSIX_FADV_DONTNEED) == 0,
              "the file's pages cannot be dropped");
  ::close(number);
}

void bound(const Words& words) {
  const int threads = static_cast<int>(number(words, 3, 1));
  const auto dataset = open(words.at(1), words.at(2), threads);
  std::vector<double> walls, work, fetches;
  for (std::int64_t round = number(words, 4, 5); round > 0; --round) {
    if (words.size() > 5) drop_pages(words[5]);
    fetches.push_back(fetch_seconds(*dataset, threads));
    if (words.size() > 5) drop_pages(words[5]);
    bt::data::DataLoader loader(dataset, {.global_batch = words[1] == "jets" ? 256 : 64, .threads = threads});
    walls.push_back(seconds_of([&] {
      while (loader.next()) continue;
    }));
    work.push_back(loader.statistics().processor_seconds / threads);
  }
  const double wall = median(walls), fetching = median(fetches), processor = median(work);
  const double limit = std::max(fetching, processor);
  fmt::print(
      "{}, {} threads: {:.0f} samples/s, {:.3f} s; fetching {:.3f} s, processor time {:.3f} s: {:.2f} of the bound ({})\n",
      words[words.size() > 5 ? 5 : 2], threads, static_cast<double>(dataset->size()) / wall, wall, fetching,
      processor, limit / wall, fetching > processor ? "storage" : "processor");
}

double resident_megabytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t all = 0, resident = 0;
  statm >> all >> resident;
  return 1e-6 * static_cast<double>(resident * sysconf(_SC_PAGESIZE));
}

void flat(const Words& words) {
  const std::int64_t most = number(words, 3, 10'000);
  constexpr std::int64_t kBound = 192 << 20;  // the window of the shuffle has 128
  bt::data::DataLoader loader(open(words.at(1), words.at(2), 1),
                              {.global_batch = 64, .threads = 2, .prefetch_bytes = kBound});
  for (std::int64_t batches = 0; batches < most;) {
    batches += loader.next() ? 1 : 0;
    if (batches == 100 || batches % std::max<std::int64_t>(most / 10, 1) == 0)
      fmt::print("{:6} batches: {:.1f} MB resident, {:.1f} MB of samples held at most\n", batches,
                 resident_megabytes(), 1e-6 * static_cast<double>(loader.statistics().bytes_peak));
  }
}

constexpr const char* kCard = R"(card = 1
[[read.jet]]
from = "label"
columns = ["kind"]
[[read.part]]
from = "particles"
columns = ["a", "b", "mask"]
[particles]
mask = "part.mask > 0.5"
[inputs]
points = ["part.a", "part.b"]
features = ["part.a"]
[label]
of = "jet.kind"
classes = [["x", 0], ["y", 1]]
)";

void files(const Words& words) {
  const std::string folder = words.at(1), card = folder + "/card.toml";
  const std::int64_t count = number(words, 2, 10'000);
  fs::create_directories(folder);
  std::ofstream(card) << kCard;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string path = fmt::format("{}/f{}.h5", folder, i);
    if (fs::exists(path)) continue;
    bt::data::Hdf5Writer writer(path);
    writer.create_dataset("particles", at::full({20, 4, 3}, static_cast<double>(i % 7 + 1), at::kFloat), 20);
    writer.create_dataset("label", at::arange(20, at::kInt).remainder(2), 20);
    writer.commit();
  }
  for (int round = 0; round < 2; ++round) {
    std::optional<bt::data::JetDataset> jets;
    const double opening = seconds_of(
        [&] { jets.emplace(bt::data::JetDatasetOptions{.files = {folder + "/f*.h5"}, .card = card}); });
    bt::data::DataLoader loader(jets->all(), {.threads = 2, .prefetch_bytes = 1 << 20});
    const double epoch = seconds_of([&] {
      while (loader.next()) continue;
    });
    fmt::print("{} files opened in {:.2f} s; an epoch of {} jets in {:.2f} s\n", count, opening, jets->size(),
               epoch);
  }
}

void map(const Words& words) {
  fs::create_directories(words.at(1));
  const std::string path = words[1] + "/million.h5";
  if (!fs::exists(path)) {
    constexpr hsize_t kRows = 1'000'000, kOne = 1;
    std::vector<int> values(kRows);
    std::iota(values.begin(), values.end(), 0);
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t space = H5Screate_simple(1, &kRows, nullptr), create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(create, 1, &kOne);
    const hid_t dataset = H5Dcreate2(file, "x", H5T_STD_I32LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    H5Dwrite(dataset, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(dataset);
    H5Fclose(file);
    fs::last_write_time(path,
                        fs::file_time_type::clock::now() - std::chrono::hours(2));  // so that the map is kept
  }
  for (const auto& kept : bt::data::places_of({.file = path, .dataset = "x", .hash = {}})) fs::remove(kept);
  for (int round = 0; round < 6; ++round) {
    const bt::data::OpenedFile file(path);
    const double opening = seconds_of([&] { file.open("x", false); });
    fmt::print("a million chunks, {}: {:.1f} ms\n", round == 0 ? "map read from the file" : "map kept",
               1e3 * opening);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Words words(argv + 1, argv + argc);
  at::set_num_threads(1);
  try {
    const std::string what = words.empty() ? "" : words.front();
    const std::pair<const char*, void (*)(const Words&)> modes[] = {
        {"make", make}, {"bound", bound}, {"flat", flat}, {"files", files}, {"map", map}};
    const auto* mode =
        std::ranges::find(modes, what, [](const auto& entry) { return std::string(entry.first); });
    bt::expects(mode != std::end(modes), "the first word is make, bound, flat, files or map");
    fmt::print("{}; {}\n", bt::device::describe(c10::Device(c10::kCPU)), bt::build_info().compiler);
    mode->second(words);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
