// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/repack.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/detail/own_file.hpp"
#include "repack_sources.hpp"
#include "shard_plan.hpp"
#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

struct NamedFilter {
  RepackFilter filter;
  std::string_view name;
  int codec;  ///< its number where it is one of our own
};
constexpr std::array kFilters = {
    NamedFilter{RepackFilter::none, "none", 0}, NamedFilter{RepackFilter::deflate, "deflate", 0},
    NamedFilter{RepackFilter::zstd, "zstd", 32015}, NamedFilter{RepackFilter::lz4, "lz4", 32004}};

class Repacking {
 public:
  explicit Repacking(const RepackOptions& options)
      : options_(options), sources_(options), plan_(sources_, options) {
    if (options.shards > sources_.rows(RowAxis::samples))
      throw ConfigError("shards", fmt::format("{}", options.shards),
                        fmt::format("at most the {} rows that there are", sources_.rows(RowAxis::samples)));
    kind_ = "shards " + key();
    prepare_folder();
  }

  RepackResult run();

 private:
  std::string key() const;
  void prepare_folder();
  fs::path path_of(std::size_t shard) const { return options_.out / fmt::format("shard-{:05}.h5", shard); }
  void write(const Window& window);
  ShardWriter& writer_of(std::size_t shard);
  void write_row_splits(std::size_t shard, ShardWriter& writer) const;
  void finish_segment(std::size_t shard);
  std::string take_card() const;
  std::int64_t rows_of_shard(std::size_t shard) const;
  void report(std::int64_t rows);

  const RepackOptions& options_;
  RepackSources sources_;
  ShardPlan plan_;
  std::string kind_;
  std::vector<bool> finished_;
  std::map<std::size_t, std::unique_ptr<ShardWriter>> writers_;
  std::map<std::size_t, std::size_t> segments_;  ///< of unfinished shards, still to be written
  std::int64_t done_ = 0, total_ = 0;            ///< rows of all datasets
};

// What a shard's bytes depend on: another repack's are not kept.
std::string Repacking::key() const {
  std::string text =
      fmt::format("{} {} {} {} {} {} {}", fmt::join(options_.datasets, ","), options_.shards,
                  options_.alignment, options_.chunk_rows, to_string(options_.filter), options_.byte_shuffle,
                  options_.seed ? fmt::format("{}", *options_.seed) : "-");
  for (const TargetDataset& target : sources_.targets())
    if (target.axis == RowAxis::elements)
      text += fmt::format("\n{} by {}", target.name, sources_.row_splits_name());
  for (const auto& file : sources_.files())
    text += fmt::format("\n{} {} {}", fs::weakly_canonical(file).string(), fs::file_size(file),
                        fs::last_write_time(file).time_since_epoch().count());
  return hash_hex(text);
}

void Repacking::prepare_folder() {
  for (const auto& file : sources_.files())
    if (fs::weakly_canonical(file).parent_path() == fs::weakly_canonical(options_.out))
      throw ConfigError("out", options_.out.string(),
                        fmt::format("a folder that holds no input; {} lies in it", file.string()));
  std::error_code error;
  fs::create_directories(options_.out, error);
  if (error)
    throw ConfigError("out", options_.out.string(),
                      fmt::format("a folder that can be made ({})", error.message()));
  std::vector<fs::path> foreign;
  for (std::size_t shard = 0; shard < static_cast<std::size_t>(options_.shards); ++shard) {
    const bool there = fs::exists(path_of(shard));
    finished_.push_back(there && is_own_file(path_of(shard), kind_));
    if (there && !finished_.back()) foreign.push_back(path_of(shard));
  }
  if (foreign.empty() && fs::exists(options_.out / "manifest.json") && !finished_.front())
    foreign.push_back(options_.out / "manifest.json");
  if (!foreign.empty() && !options_.force)
    throw ConfigError(
        "out", options_.out.string(),
        fmt::format(
            "a folder without the shards of another repack ({}): name a new one, or replace them with "
            "{}",
            foreign.front().filename().string(), setting("force")));
  if (std::ranges::count(finished_, false) > 0)
    fs::remove(options_.out / "manifest.json", error);  // it comes back when all shards are there
}

void Repacking::write(const Window& window) {
  const auto wanted = plan_.wanted_by(window);
  std::int64_t count = 0;
  for (const Segment& segment : window.segments) count += segment.count;
  std::vector<std::byte> rows;
  for (std::size_t i = 0; i < sources_.targets().size(); ++i) {
    const TargetDataset& target = sources_.targets()[i];
    if (target.axis != window.axis) continue;
    rows.resize(static_cast<std::size_t>(count) * target.row_bytes);
    sources_.read(i, wanted, rows);
    std::span<const std::byte> rest = rows;
    for (const Segment& segment : window.segments) {
      const std::size_t bytes = static_cast<std::size_t>(segment.count) * target.row_bytes;
      writer_of(segment.shard).write(target, segment.first, rest.first(bytes));
      rest = rest.subspan(bytes);
    }
    report(count);
  }
  for (const Segment& segment : window.segments) finish_segment(segment.shard);
}

ShardWriter& Repacking::writer_of(std::size_t shard) {
  auto& writer = writers_[shard];
  if (!writer) {
    writer = std::make_unique<ShardWriter>(path_of(shard), options_, kind_);
    for (const TargetDataset& target : sources_.targets())
      writer->create(target, plan_.rows(target.axis, shard));
    if (!sources_.row_splits_name().empty()) write_row_splits(shard, *writer);
  }
  return *writer;
}

void Repacking::write_row_splits(std::size_t shard, ShardWriter& writer) const {
  constexpr std::int64_t kChunkRows = std::int64_t{1} << 17;  // a MiB
  const auto splits = plan_.row_splits(shard);
  const TargetDataset target{.name = sources_.row_splits_name(),
                             .type = H5T_NATIVE_INT64,
                             .shape = {splits.size()},
                             .row_bytes = sizeof(splits.front()),
                             .chunk_rows = kChunkRows};
  writer.create(target, std::ssize(splits));
  writer.write(target, 0, std::as_bytes(std::span(splits)));
}

void Repacking::finish_segment(std::size_t shard) {
  if (--segments_.at(shard) > 0) return;
  (void)writer_of(shard);  // row splits may be all that it holds of its samples
  writers_.at(shard)->commit();
  writers_.erase(shard);
}

std::int64_t Repacking::rows_of_shard(std::size_t shard) const {
  std::int64_t rows = 0;
  for (const TargetDataset& target : sources_.targets()) rows += plan_.rows(target.axis, shard);
  return rows;
}

void Repacking::report(std::int64_t rows) {
  done_ += rows;
  if (options_.progress) options_.progress(done_, total_);
}

/// A card of one's own travels with the shards.
std::string Repacking::take_card() const {
  if (!options_.card.ends_with(".toml")) return options_.card;
  write_file_atomically(options_.out / "card.toml", read_text_file(options_.card));
  return "card.toml";
}

RepackResult Repacking::run() {
  RepackResult result{.manifest = options_.out / "manifest.json",
                      .rows = sources_.rows(RowAxis::samples),
                      .elements = sources_.rows(RowAxis::elements),
                      .bytes_read = sources_.bytes(),
                      .kept_shards = std::ranges::count(finished_, true)};
  for (std::size_t shard = 0; shard < finished_.size(); ++shard) {
    total_ += rows_of_shard(shard);
    if (finished_[shard]) done_ += rows_of_shard(shard);
  }
  const auto windows = plan_.cut(finished_);
  for (const Window& window : windows)
    for (const Segment& segment : window.segments) ++segments_[segment.shard];
  {
    const WritableFilter filter(options_.filter);
    for (const Window& window : windows) write(window);
  }
  ShardManifest manifest{.shards = {}, .card = take_card(), .seed = options_.seed};
  for (std::size_t shard = 0; shard < finished_.size(); ++shard) {
    const fs::path path = path_of(shard);
    manifest.shards.push_back({.file = path.filename().string(),
                               .rows = plan_.rows(RowAxis::samples, shard),
                               .bytes = static_cast<std::int64_t>(fs::file_size(path)),
                               .hash = hash_file(path)});
    result.bytes_written += manifest.shards.back().bytes;
  }
  write_file_atomically(result.manifest, to_json(manifest));
  if (const Codec* codec =
          find_codec(std::ranges::find(kFilters, options_.filter, &NamedFilter::filter)->codec))
    result.plugin = fmt::format("{} ({})", codec->name, codec->filter);
  return result;
}

}  // namespace

std::string_view to_string(RepackFilter filter) noexcept {
  return std::ranges::find(kFilters, filter, &NamedFilter::filter)->name;
}

RepackFilter parse_repack_filter(std::string_view text) {
  const auto found = std::ranges::find(kFilters, text, &NamedFilter::name);
  if (found != kFilters.end()) return found->filter;
  throw ConfigError("filter", std::string(text), "none, deflate, zstd, lz4");
}

void RepackOptions::validate() const {
  const auto require = [](bool holds, const char* field, std::int64_t value, const char* allowed) {
    if (!holds) throw ConfigError(field, fmt::format("{}", value), allowed);
  };
  require(shards >= 1 && shards <= 99999, "shards", shards, "1 to 99999");
  require(alignment >= 1 && alignment <= 1 << 30, "align", alignment, "1 byte to 1 GiB");
  require(chunk_rows >= 0 && chunk_rows <= 1 << 20, "chunk_rows", chunk_rows,
          "1 to 1048576 rows, or 0 for auto");
  require(memory_bytes >= 1 << 20, "memory", memory_bytes, "at least 1 MiB");
  if (!row_splits.empty() && row_splits.find_first_not_of('/') == std::string::npos)
    throw ConfigError("row_splits", row_splits, "the name of a dataset");
  if (out.empty()) throw ConfigError("out", "", "a folder for the shards and their manifest");
  const int codec = std::ranges::find(kFilters, filter, &NamedFilter::filter)->codec;
  if (codec != 0 && !find_codec(codec)->is_built)
    throw ConfigError(
        "filter", std::string(to_string(filter)),
        fmt::format("deflate or none: this bunchtrain was built without {}", find_codec(codec)->package));
}

RepackResult repack(const RepackOptions& options) {
  options.validate();
  return Repacking(options).run();
}

}  // namespace bunchtrain::data
