// SPDX-License-Identifier: Apache-2.0
#include "virtual_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "open_files.hpp"
#include "virtual_mappings.hpp"
#include "virtual_sources.hpp"

namespace bunchtrain::data {
namespace {

/// Puts the sources of one virtual dataset together.
class Gathering {
 public:
  Gathering(const DatasetLayout& layout, const std::string& path, const SourceContext& context,
            const std::string& where)
      : layout_(layout), path_(path), where_(where), sources_(path, context) {}

  VirtualContents gather(const VirtualMappings& mappings) {
    require_next_files(mappings);
    hdf5::allow_open_files(2 * mappings.all.size());
    for (const auto& mapping : mappings.all) add(mapping);
    if (!mappings.unmapped.empty())
      contents_.absent.emplace_back(mappings.unmapped, "are in none of its sources");
    std::ranges::sort(contents_.pieces, {}, [](const VirtualPiece& piece) { return piece.rows.first; });
    contents_.by_rows = contents_.by_rows && !overlaps();
    contents_.files.assign(files_.begin(), files_.end());
    return std::move(contents_);
  }

 private:
  // HDF5 ends a dataset of numbered files where one is missing, whatever comes after it.
  void require_next_files(const VirtualMappings& mappings) const {
    const auto& next = mappings.next_files;
    for (std::size_t i = 1; i < next.size(); ++i)
      if (!sources_.has(next.front()) && sources_.has(next[i]))
        throw DataError(
            fmt::format("{}: ends at row {} because its source {} is not there, but {} is; put the "
                        "missing file back",
                        where_, layout_.rows(), next.front(), next[i]));
  }

  void add(const VirtualMapping& mapping) {
    if (mapping.rows.count == 0 && layout_.rows() > 0) return;
    const auto& found = find(mapping);
    if (!found.dataset) return add_absent(mapping, found);
    const StoredDataset& source = *found.dataset;
    contents_.first_rows.push_back(mapping.rows.first);
    files_.insert(source.path());
    const auto others = source.other_files();
    files_.insert(others.begin(), others.end());
    if (!mapping.by_rows || !source.layout().has_rows_of(layout_)) {
      contents_.by_rows = false;
      for (const auto& absent : source.absent()) add_part_of(mapping, absent, source, mapping.rows);
      return;
    }
    const std::uint64_t rows = source.layout().rows();
    const std::uint64_t there = std::min(mapping.rows.count, rows - std::min(rows, mapping.source_first));
    if (there > 0)
      contents_.pieces.push_back({.rows = {mapping.rows.first, there},
                                  .source_first = mapping.source_first,
                                  .source = found.dataset});
    for (const auto& absent : source.absent())
      add_part_of(mapping, absent, source, {mapping.rows.first, there});
    if (there < mapping.rows.count)
      contents_.absent.push_back(
          {.rows = {{mapping.rows.first + there, mapping.rows.count - there}},
           .why = fmt::format("come from {}, which ends at its row {}", source.where(), rows)});
  }

  const VirtualSources::Found& find(const VirtualMapping& mapping) {
    try {
      return sources_.find(mapping.file, mapping.dataset);
    } catch (Error& error) {
      error.add_context(fmt::format("while opening a source of virtual {}", where_));
      throw;
    }
  }

  void add_absent(const VirtualMapping& mapping, const VirtualSources::Found& found) {
    if (layout_.rows() == 0)
      throw DataError(fmt::format("{}: has no rows, because its source cannot be read: {}; put it back",
                                  where_, found.why));
    contents_.absent.push_back({.rows = {mapping.rows},
                                .why = fmt::format("come from another file, but {}", found.why),
                                .may_be_filled = !found.is_there});
  }

  // Rows that the source has not either. Where rows do not correspond, all that it gives to are meant.
  void add_part_of(const VirtualMapping& mapping, const AbsentRows& absent, const StoredDataset& source,
                   RowSpan target) {
    RowSpans rows;
    if (mapping.by_rows) {
      for (const RowSpan& span : cut(absent.rows, mapping.source_first, target.count))
        rows.push_back({target.first + span.first, span.count});
    } else {
      rows = {target};
    }
    if (rows.empty()) return;
    contents_.absent.push_back({.rows = std::move(rows),
                                .why = fmt::format("come from {} of {}, which {}", to_string(absent.rows),
                                                   source.where(), absent.why),
                                .may_be_filled = absent.may_be_filled});
  }

  bool overlaps() const {
    const auto& pieces = contents_.pieces;
    for (std::size_t i = 1; i < pieces.size(); ++i)
      if (pieces[i - 1].rows.first + pieces[i - 1].rows.count > pieces[i].rows.first) return true;
    return false;
  }

  const DatasetLayout& layout_;
  const std::string& path_;
  const std::string& where_;
  VirtualSources sources_;
  VirtualContents contents_;
  std::set<std::string> files_;
};

}  // namespace

VirtualContents look_at_sources(hid_t create, const DatasetLayout& layout, const std::string& path,
                                const SourceContext& context, const std::string& where) {
  constexpr int kDeepest = 16;
  if (context.depth > kDeepest)
    throw DataError(
        fmt::format("{}: virtual datasets that come from each other; write the file again", where));
  const SourceContext inner{.depth = context.depth + 1, .decoded = context.decoded};
  return Gathering(layout, path, inner, where).gather(read_mappings(create, layout, where));
}

VirtualRows::VirtualRows(const DatasetLayout& layout, VirtualContents contents)
    : fill_(layout.fill), row_bytes_(layout.row_bytes()), contents_(std::move(contents)) {}

/// Rows of a request that come from one source, or from none.
struct VirtualRows::Run {
  std::size_t at;  ///< in the request
  std::size_t rows;
  const StoredDataset* source = nullptr;
  std::size_t source_first = 0;
};

std::vector<VirtualRows::Run> VirtualRows::runs(std::size_t first, std::size_t count) const {
  std::vector<Run> runs;
  const auto& pieces = contents_.pieces;
  auto piece =
      std::ranges::upper_bound(pieces, first, {}, [](const VirtualPiece& p) { return p.rows.first; });
  if (piece != pieces.begin()) --piece;
  std::size_t row = first;
  const std::size_t end = first + count;
  for (; piece != pieces.end() && row < end; ++piece) {
    const std::size_t piece_end = piece->rows.first + piece->rows.count;
    if (piece_end <= row) continue;
    const std::size_t begin = std::clamp<std::size_t>(piece->rows.first, row, end);
    if (begin > row) runs.push_back({.at = row - first, .rows = begin - row});
    row = std::min(end, piece_end);
    if (row > begin)
      runs.push_back({.at = begin - first,
                      .rows = row - begin,
                      .source = piece->source.get(),
                      .source_first = piece->source_first + (begin - piece->rows.first)});
  }
  if (row < end) runs.push_back({.at = row - first, .rows = end - row});
  return runs;
}

void VirtualRows::plan(std::size_t first, std::size_t count, ReadPlan& plan) const {
  for (const Run& run : runs(first, count))
    if (run.source != nullptr) run.source->plan(run.source_first, run.rows, plan);
}

void VirtualRows::decode(std::size_t first, std::size_t count, PlannedBytes& bytes,
                         const RowSink& sink) const {
  for (const Run& run : runs(first, count)) {
    if (run.source == nullptr) {
      sink(run.at, run.rows, repeated(fill_, run.rows * row_bytes_).data());
      continue;
    }
    run.source->decode(
        run.source_first, run.rows, bytes,
        [&](std::size_t at, std::size_t rows, const std::byte* values) { sink(run.at + at, rows, values); });
  }
}

std::string VirtualRows::way() const {
  std::set<std::string> ways;
  for (const auto& piece : contents_.pieces) ways.insert(piece.source->path_text());
  const std::string of_sources = ways.empty()       ? "nothing there"
                                 : ways.size() == 1 ? *ways.begin()
                                                    : "in several ways";
  return fmt::format("virtual, {} files: {}", contents_.files.size(), of_sources);
}

std::size_t VirtualRows::rows_together() const {
  return contents_.pieces.empty() ? 1 : contents_.pieces.front().source->rows_per_chunk();
}

std::vector<std::shared_ptr<const StoredDataset>> VirtualRows::sources() const {
  std::vector<std::shared_ptr<const StoredDataset>> distinct;
  std::set<const StoredDataset*> seen;
  for (const auto& piece : contents_.pieces)
    if (seen.insert(piece.source.get()).second) distinct.push_back(piece.source);
  return distinct;
}

void VirtualRows::add_to(Hasher& hasher) const {
  for (const auto& piece : contents_.pieces) {
    const std::string place = fmt::format("{} {} {}", piece.rows.first, piece.rows.count, piece.source_first);
    hasher.update(std::as_bytes(std::span(place)));
    piece.source->add_structure(hasher);
  }
}

}  // namespace bunchtrain::data
