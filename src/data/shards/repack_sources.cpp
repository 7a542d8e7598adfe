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

/// The card whose [layout] says which elements are whose; an empty one's says that each row is a sample.
features::Card layout_card(const RepackOptions& options) {
  features::Card card;
  if (!options.card.empty() && features::kind_of_card(options.card) != features::CardKind::showers)
    card = features::load_card(options.card);
  if (!options.row_splits.empty()) {
    card.name.clear();
    card.layout = {.type = features::ElementLayout::csr,
                   .row_splits = {options.row_splits.substr(options.row_splits.find_first_not_of('/'))}};
  }
  if (card.layout.type == features::ElementLayout::flat)
    throw ConfigError(
        "card", options.card,
        "a card with row splits, counts or padded rows: this one tells events apart by ascending numbers in "
        "each row, which shuffled and cut rows lose; write the files with row splits");
  if (!card.layout.row_splits.member.empty())
    throw ConfigError("card", options.card,
                      fmt::format("a card whose row splits are a dataset of their own, not a member of '{}'",
                                  card.layout.row_splits.dataset));
  return card;
}

/// What a card that reads the dataset says of its rows.
const features::ReadSource* find_source(const features::Card& card, const std::string& dataset) {
  const auto found = std::ranges::find_if(card.sources, [&](const features::ReadSource& source) {
    return source.group ? dataset.starts_with(source.dataset + "/") : source.dataset == dataset;
  });
  return found == card.sources.end() ? nullptr : &*found;
}

/// Puts those of `rows` rows from `first` on that are wanted at their places, from `*next` on.
void place_rows(std::span<const WantedRows> wanted, std::size_t* next, std::uint64_t first,
                std::uint64_t rows, const std::byte* bytes, std::size_t row_bytes, std::span<std::byte> out) {
  for (; *next < wanted.size() && wanted[*next].first < first + rows; ++*next) {
    const WantedRows& some = wanted[*next];
    const std::uint64_t from = std::max(some.first, first);
    const std::uint64_t until = std::min(some.first + some.count, first + rows);
    std::memcpy(out.data() + (some.place + from - some.first) * row_bytes, bytes + (from - first) * row_bytes,
                (until - from) * row_bytes);
    if (some.first + some.count > first + rows) return;  // the rest comes with the rows that follow
  }
}

}  // namespace

RepackSources::RepackSources(const RepackOptions& options)
    : card_(layout_card(options)), files_(list_files(options.files)) {
  if (ragged()) row_splits_ = {0};
  for (const auto& file : files_) open(file, options);
  settle_axes();
  choose_chunks(options);
}

/// All datasets, or those that were named; without row splits all of the same rows.
std::vector<std::string> RepackSources::choose(const std::filesystem::path& file,
                                               const RepackOptions& options) const {
  auto contents = list_contents(file.string());
  if (auto wanted = options.datasets; !wanted.empty()) {
    for (const auto& name : wanted)
      if (std::ranges::none_of(contents, [&](const auto& one) { return one.shape.name == name; }))
        throw ConfigError(
            "datasets", name,
            fmt::format("a dataset of {}, which has {}", file.string(), list_contents(contents)));
    if (ragged()) wanted.push_back(card_.layout.counts.dataset);
    std::erase_if(contents, [&](const DatasetContents& dataset) {
      return std::ranges::find(wanted, dataset.shape.name) == wanted.end();
    });
  }
  if (ragged())
    std::erase_if(contents, [&](const auto& dataset) { return dataset.shape.name == row_splits_name(); });
  if (contents.empty()) throw DataError(file.string() + ": holds no datasets");
  const auto& first = contents.front().shape.shape;
  for (const auto& dataset : contents) {
    if (!dataset.unreadable.empty()) throw DataError(dataset.unreadable);
    if (ragged() ||
        (!dataset.shape.shape.empty() && !first.empty() && dataset.shape.shape.front() == first.front()))
      continue;
    throw ConfigError(fmt::format(
        "{}: its datasets have different numbers of rows ({}); name those of one number by {}, or "
        "the row splits of hits one behind another by {} or {}",
        file.string(), rows_text(contents), setting("datasets", "NAME,NAME"), setting("row_splits", "NAME"),
        setting("card")));
  }
  std::vector<std::string> names;
  for (const auto& dataset : contents) names.push_back(dataset.shape.name);
  return names;
}

void RepackSources::open(const std::filesystem::path& file, const RepackOptions& options) {
  const OpenedFile opened(file);
  const ElementRows elements = ragged() ? read_element_rows(opened, card_) : ElementRows();
  const auto names = choose(file, options);
  if (!targets_.empty() && !std::ranges::equal(names, targets_, {}, {}, &TargetDataset::name))
    throw ConfigError(
        fmt::format("{}: has the datasets {}, {} has others; repack files of one layout together",
                    file.string(), fmt::join(names, ", "), files_.front().string()));
  std::vector<StoredDataset>& datasets = datasets_.emplace_back();
  for (std::size_t i = 0; i < names.size(); ++i) {
    datasets.push_back(opened.open(names[i], false));
    if (ragged()) take_axis(datasets.back(), elements, i);
    take_type(file, datasets.back(), i);
  }
  take_rows(file, elements);
  bytes_ += static_cast<std::int64_t>(std::filesystem::file_size(file));
}

void RepackSources::take_rows(const std::filesystem::path& file, const ElementRows& elements) {
  const std::size_t samples = ragged() ? elements.samples() : datasets_.back().front().layout().rows();
  if (samples == 0) throw DataError(file.string() + ": holds no rows; leave it out");
  const std::int64_t before = rows(RowAxis::elements);
  for (std::size_t i = 1; i < elements.row_splits.size(); ++i)
    row_splits_.push_back(before + elements.row_splits[i]);
  first_rows_[place_of(RowAxis::samples)].push_back(rows(RowAxis::samples) +
                                                    static_cast<std::int64_t>(samples));
  first_rows_[place_of(RowAxis::elements)].push_back(ragged() ? row_splits_.back() : 0);
}

void RepackSources::take_axis(const StoredDataset& dataset, const ElementRows& elements, std::size_t index) {
  fits_.resize(std::max(fits_.size(), index + 1), {true, true});
  const auto& shape = dataset.layout().shape;
  const bool is_of_samples = !shape.empty() && shape.front() == elements.samples();
  const bool is_of_elements =
      !shape.empty() && shape.front() == static_cast<hsize_t>(elements.row_splits.back());
  const auto before = fits_[index];
  fits_[index] = {before[0] && is_of_samples, before[1] && is_of_elements};
  if (fits_[index][0] || fits_[index][1]) return;
  throw ConfigError(fmt::format(
      "{}: has {} rows, but {} tells of {} samples with {} elements in all{}; write the file again, or leave the "
      "dataset out: name the others by {}",
      dataset.where(), dataset.layout().rows(), elements.origin, elements.samples(),
      elements.row_splits.back(),
      is_of_samples || is_of_elements ? ", and other files differ in which of both it has" : "",
      setting("datasets", "NAME,NAME")));
}

/// What lengths leave open is for the card to say.
void RepackSources::settle_axes() {
  for (std::size_t i = 0; i < fits_.size(); ++i) {
    const features::ReadSource* source = find_source(card_, targets_[i].name);
    const bool is_open = fits_[i][0] && fits_[i][1];
    if (is_open && source == nullptr && targets_[i].name != card_.layout.counts.dataset)
      throw ConfigError(fmt::format(
          "dataset '{}': its {} rows may be those of samples or of elements, as there are as many of both; say "
          "which by {} with a card that reads it",
          targets_[i].name, rows(RowAxis::samples), setting("card", "FILE")));
    const bool is_of_elements = is_open ? source != nullptr && source->per_particle : fits_[i][1];
    targets_[i].axis = is_of_elements ? RowAxis::elements : RowAxis::samples;
  }
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

// Powers of two of one number: every chunk of one dataset ends where chunks of the others of its axis do.
void RepackSources::choose_chunks(const RepackOptions& options) {
  for (const RowAxis axis : kRowAxes) {
    std::size_t widest = 1;
    for (const auto& target : targets_)
      if (target.axis == axis) widest = std::max(widest, target.row_bytes);
    const auto fitting =
        static_cast<std::int64_t>(std::bit_floor(std::max<std::size_t>(kChunkBytes / widest, 1)));
    const std::int64_t asked = axis == RowAxis::samples ? options.chunk_rows : 0;
    for (auto& target : targets_) {
      if (target.axis != axis) continue;
      target.chunk_rows = asked > 0 ? asked : std::min(fitting, kMostChunkRows);
      while (asked == 0 && target.chunk_rows < kMostChunkRows &&
             static_cast<std::size_t>(target.chunk_rows) * target.row_bytes < kSmallestChunkBytes)
        target.chunk_rows *= 2;
    }
  }
}

void RepackSources::read(std::size_t target, std::span<const WantedRows> wanted,
                         std::span<std::byte> out) const {
  const std::size_t row_bytes = targets_[target].row_bytes;
  const auto& first_rows = first_rows_[place_of(targets_[target].axis)];
  std::size_t next = 0;  // of the stretches that are not whole yet
  for (std::uint64_t row = 0; next < wanted.size();) {
    row = std::max(row, wanted[next].first);
    const auto file = static_cast<std::size_t>(
        std::ranges::upper_bound(first_rows, static_cast<std::int64_t>(row)) - first_rows.begin() - 1);
    const auto begin = static_cast<std::uint64_t>(first_rows[file]);
    const StoredDataset& dataset = datasets_[file][target];
    const std::size_t together = std::max<std::size_t>(dataset.rows_per_chunk(), 1);
    const std::size_t step = together * std::max<std::size_t>(kBytesAtOnce / (together * row_bytes), 1);
    const std::uint64_t block_end = std::min<std::uint64_t>(begin + ((row - begin) / step + 1) * step,
                                                            static_cast<std::uint64_t>(first_rows[file + 1]));
    const auto last = std::ranges::lower_bound(wanted, block_end, {}, &WantedRows::first) - 1;
    const std::uint64_t until = std::min(last->first + last->count, block_end);
    dataset.read(row - begin, until - row, [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
      place_rows(wanted, &next, row + at, rows, bytes, row_bytes, out);
    });
    row = until;
  }
}

}  // namespace bunchtrain::data
