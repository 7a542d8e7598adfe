// SPDX-License-Identifier: Apache-2.0
#include "repack_sources.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "storage/contents_of.hpp"
#include "storage/file_list.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::size_t kSmallestChunkBytes = std::size_t{16} << 10;
constexpr std::int64_t kMostChunkRows = std::int64_t{1} << 20;
constexpr std::size_t kBytesAtOnce = std::size_t{4} << 20;

/// Texts of any length and references are addresses in their file.
bool holds_addresses(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_VLEN || kind == H5T_REFERENCE) return true;
  if (kind == H5T_STRING) return H5Tis_variable_str(type) > 0;
  if (kind == H5T_ARRAY) return holds_addresses(hdf5::Datatype(H5Tget_super(type)).get());
  if (kind != H5T_COMPOUND) return false;
  for (int i = 0; i < H5Tget_nmembers(type); ++i)
    if (holds_addresses(hdf5::Datatype(H5Tget_member_type(type, static_cast<unsigned>(i))).get()))
      return true;
  return false;
}

/// "20000 rows: a, b; 3 rows: c".
std::string rows_text(const std::vector<DatasetContents>& contents) {
  std::map<std::int64_t, std::vector<std::string>> by_rows;
  for (const auto& dataset : contents)
    by_rows[dataset.shape.shape.empty() ? 0 : dataset.shape.shape.front()].push_back(dataset.shape.name);
  std::vector<std::string> texts;
  for (const auto& [rows, names] : by_rows)
    texts.push_back(fmt::format("{} rows: {}", rows, fmt::join(names, ", ")));
  return fmt::format("{}", fmt::join(texts, "; "));
}

}  // namespace

RepackSources::RepackSources(const RepackOptions& options) : files_(list_files(options.files)) {
  for (const auto& file : files_) open(file, options);
  choose_chunks(options);
}

/// All datasets, or those that were named, all of the same rows.
std::vector<std::string> RepackSources::choose(const std::filesystem::path& file,
                                               const RepackOptions& options) const {
  auto contents = list_contents(file.string());
  if (!options.datasets.empty()) {
    for (const auto& name : options.datasets)
      if (std::ranges::none_of(contents, [&](const auto& one) { return one.shape.name == name; }))
        throw ConfigError(
            "datasets", name,
            fmt::format("a dataset of {}, which has {}", file.string(), list_contents(contents)));
    std::erase_if(contents, [&](const DatasetContents& dataset) {
      return std::ranges::find(options.datasets, dataset.shape.name) == options.datasets.end();
    });
  }
  if (contents.empty()) throw DataError(file.string() + ": holds no datasets");
  const auto& first = contents.front().shape.shape;
  for (const auto& dataset : contents) {
    if (!dataset.unreadable.empty()) throw DataError(dataset.unreadable);
    if (!dataset.shape.shape.empty() && !first.empty() && dataset.shape.shape.front() == first.front())
      continue;
    throw ConfigError(
        fmt::format("{}: its datasets have different numbers of rows ({}); name those of one number by {}",
                    file.string(), rows_text(contents), setting("datasets", "NAME,NAME")));
  }
  std::vector<std::string> names;
  for (const auto& dataset : contents) names.push_back(dataset.shape.name);
  return names;
}

void RepackSources::open(const std::filesystem::path& file, const RepackOptions& options) {
  const auto names = choose(file, options);
  if (!targets_.empty() && !std::ranges::equal(names, targets_, {}, {}, &TargetDataset::name))
    throw ConfigError(
        fmt::format("{}: has the datasets {}, {} has others; repack files of one layout together",
                    file.string(), fmt::join(names, ", "), files_.front().string()));
  const OpenedFile opened(file);
  std::vector<StoredDataset>& datasets = datasets_.emplace_back();
  for (std::size_t i = 0; i < names.size(); ++i) {
    datasets.push_back(opened.open(names[i], false));
    take_type(file, datasets.back(), i);
  }
  const auto rows = static_cast<std::int64_t>(datasets.front().layout().rows());
  if (rows == 0) throw DataError(file.string() + ": holds no rows; leave it out");
  first_rows_.push_back(first_rows_.back() + rows);
  bytes_ += static_cast<std::int64_t>(std::filesystem::file_size(file));
}

// Bytes are written as they are read: the type must be that of the first file, and none of addresses.
void RepackSources::take_type(const std::filesystem::path& file, const StoredDataset& dataset,
                              std::size_t index) {
  const hdf5::LibraryLock lock;
  const DatasetLayout& layout = dataset.layout();
  const hdf5::File opened = hdf5::open_read_only(file.string());
  const hdf5::Dataset handle(
      check(H5Dopen2(opened.get(), layout.name.c_str(), H5P_DEFAULT), dataset.where()));
  const hdf5::Datatype stored(check(H5Dget_type(handle.get()), dataset.where()));
  const bool skips_texts =
      dataset.path_text().find("H5Dread") != std::string::npos &&
      std::ranges::any_of(layout.members, [](const CompoundMember& member) { return !member.type; });
  if (holds_addresses(stored.get()) || skips_texts)
    throw ConfigError(fmt::format(
        "{}: holds texts or references, which cannot be copied as rows; leave it out: name the others by {}",
        dataset.where(), setting("datasets", "NAME,NAME")));
  if (index == targets_.size()) {
    types_.emplace_back(check(H5Tcopy(stored.get()), dataset.where()));
    targets_.push_back({.name = layout.name,
                        .type = types_.back().get(),
                        .shape = layout.shape,
                        .row_bytes = layout.row_bytes(),
                        .chunk_rows = 1});
    return;
  }
  const TargetDataset& target = targets_[index];
  if (H5Tequal(stored.get(), target.type) <= 0 ||
      !std::equal(layout.shape.begin() + 1, layout.shape.end(), target.shape.begin() + 1, target.shape.end()))
    throw ConfigError(
        fmt::format("{}: has rows of another type or shape than {}; repack files of one layout together",
                    dataset.where(), files_.front().string()));
}

// Powers of two of one number: every chunk of one dataset ends where chunks of the others do.
void RepackSources::choose_chunks(const RepackOptions& options) {
  std::size_t widest = 1;
  for (const auto& target : targets_) widest = std::max(widest, target.row_bytes);
  const auto fitting =
      static_cast<std::int64_t>(std::bit_floor(std::max<std::size_t>(kChunkBytes / widest, 1)));
  const std::int64_t base = options.chunk_rows > 0 ? options.chunk_rows : std::min(fitting, kMostChunkRows);
  for (auto& target : targets_) {
    target.chunk_rows = base;
    if (options.chunk_rows > 0) continue;
    while (static_cast<std::size_t>(target.chunk_rows) * target.row_bytes < kSmallestChunkBytes &&
           target.chunk_rows < kMostChunkRows)
      target.chunk_rows *= 2;
  }
}

void RepackSources::read(std::size_t target, std::span<const WantedRow> wanted,
                         std::span<std::byte> out) const {
  const std::size_t row_bytes = targets_[target].row_bytes;
  while (!wanted.empty()) {
    const auto file = static_cast<std::size_t>(
        std::ranges::upper_bound(first_rows_, static_cast<std::int64_t>(wanted.front().row)) -
        first_rows_.begin() - 1);
    const auto begin = static_cast<std::uint64_t>(first_rows_[file]);
    const StoredDataset& dataset = datasets_[file][target];
    const std::size_t together = std::max<std::size_t>(dataset.rows_per_chunk(), 1);
    const std::size_t step = together * std::max<std::size_t>(kBytesAtOnce / (together * row_bytes), 1);
    const std::uint64_t block_end =
        std::min<std::uint64_t>(begin + ((wanted.front().row - begin) / step + 1) * step,
                                static_cast<std::uint64_t>(first_rows_[file + 1]));
    const auto last = std::ranges::lower_bound(wanted, block_end, {}, &WantedRow::row);
    const auto some = wanted.first(static_cast<std::size_t>(last - wanted.begin()));
    const std::uint64_t first = some.front().row;
    auto next = some.begin();
    dataset.read(first - begin, some.back().row - first + 1,
                 [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
                   for (; next != some.end() && next->row < first + at + rows; ++next)
                     std::memcpy(out.data() + next->place * row_bytes,
                                 bytes + (next->row - first - at) * row_bytes, row_bytes);
                 });
    wanted = wanted.subspan(some.size());
  }
}

}  // namespace bunchtrain::data
