// SPDX-License-Identifier: Apache-2.0
#include "chunked_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::data {
namespace {

DecodeScratch& thread_scratch() {
  thread_local DecodeScratch scratch;
  return scratch;
}

template <class Values>
std::span<const std::byte> bytes_of(const Values& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

ChunkedRows::ChunkedRows(std::shared_ptr<const FileBytes> bytes, const DatasetLayout& layout, ChunkMap map,
                         std::shared_ptr<DecodedChunks> decoded, const std::string& where)
    : bytes_(std::move(bytes)),
      layout_(layout),
      map_(std::move(map)),
      decoded_(std::move(decoded)),
      where_(where) {}

std::string ChunkedRows::way() const {
  return is_raw() ? bytes_->way() + " of chunks"
                  : fmt::format("{} + own {}", bytes_->way(), decoder_of(layout_.filters));
}

/// Nothing was done to the chunks but that whole elements of rows were taken apart.
bool ChunkedRows::is_shuffled() const {
  const std::size_t element = shuffled_elements(layout_.filters);
  const auto is_whole = [&](const StoredChunk& chunk) { return chunk.bytes == layout_.chunk_bytes(); };
  return element > 0 && layout_.row_bytes() % element == 0 && rows_are_whole() &&
         std::ranges::all_of(map_.chunks, is_whole);
}

std::string ChunkedRows::why_not_plain() const {
  if (!is_raw() && !is_shuffled()) return way();
  return map_.has_all ? "" : "written in part only";
}

bool ChunkedRows::rows_are_whole() const {
  return std::equal(layout_.shape.begin() + 1, layout_.shape.end(), layout_.chunk.begin() + 1);
}

void ChunkedRows::add_to(Hasher& hasher) const {
  hasher.update(bytes_of(map_.grid));
  hasher.update(bytes_of(map_.places));
  hasher.update(bytes_of(map_.chunks));
}

/// Rows of a request that lie in one block: the chunks at one place along the first axis.
struct ChunkedRows::Run {
  std::uint64_t block;
  std::size_t at;      ///< in the request
  std::size_t inside;  ///< the block
  std::size_t rows;
  std::size_t block_rows;

  bool is_part() const { return rows < block_rows; }
};

template <class Visit>
void ChunkedRows::for_each_run(std::size_t first, std::size_t count, const Visit& visit) const {
  const auto chunk_rows = static_cast<std::size_t>(layout_.chunk[0]);
  for (std::size_t row = first; row < first + count;) {
    const std::size_t block = row / chunk_rows, inside = row % chunk_rows;
    const std::size_t block_rows = std::min(chunk_rows, layout_.rows() - block * chunk_rows);
    const std::size_t rows = std::min(block_rows - inside, first + count - row);
    visit(Run{.block = block, .at = row - first, .inside = inside, .rows = rows, .block_rows = block_rows});
    row += rows;
  }
}

void ChunkedRows::plan(std::size_t first, std::size_t count, ReadPlan& plan) const {
  for_each_run(first, count, [&](const Run& run) {
    const StoredChunk stored = first_stored(run.block);
    if (stored.bytes == 0) return;
    if (is_raw()) {
      plan.add(*bytes_, stored.offset + run.inside * layout_.row_bytes(), run.rows * layout_.row_bytes());
      return;
    }
    plan.shares_chunks = plan.shares_chunks || run.is_part();
    if (auto kept = run.is_part() ? decoded_->find({this, run.block}) : nullptr) {
      plan.pieces.push_back({.source = bytes_.get(), .offset = stored.offset, .decoded = std::move(kept)});
    } else {
      const std::uint64_t chunks = map_.chunks_per_block();
      for (std::uint64_t i = 0; i < chunks; ++i)
        if (const StoredChunk chunk = map_.at(run.block * chunks + i); chunk.bytes > 0)
          plan.add(*bytes_, chunk.offset, chunk.bytes);
    }
  });
}

void ChunkedRows::plan_as_stored(std::size_t first, std::size_t count, ReadPlan& plan,
                                 ShuffledBlocks& shuffled) const {
  if (layout_.filters.empty()) return this->plan(first, count, plan);
  for_each_run(first, count, [&](const Run& run) { plan_shuffled(run, plan, shuffled); });
}

// Plane j holds the j-th bytes of all elements: of rows that are a part of the chunk it is a stretch, which is read alone
// where that is no waste of calls.
void ChunkedRows::plan_shuffled(const Run& run, ReadPlan& plan, ShuffledBlocks& shuffled) const {
  constexpr std::uint64_t kLeastStretch = 4096;
  const StoredChunk chunk = map_.at(run.block);
  const std::uint64_t element = (chunk.skip_mask & 1) != 0 ? 1 : shuffled_elements(layout_.filters);
  const std::uint64_t row = layout_.row_bytes() / element, in_chunk = chunk.bytes / element;
  const std::uint64_t first = run.inside * row, elements = run.rows * row;
  const bool alone = elements < in_chunk && elements >= kLeastStretch;
  const auto number = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  shuffled.push_back({.from = number(plan.bytes()),
                      .to = shuffled.empty() ? 0 : shuffled.back().to + shuffled.back().bytes(),
                      .element_bytes = number(element),
                      .stride = number(alone ? elements : in_chunk),
                      .first = number(alone ? 0 : first),
                      .elements = number(elements)});
  if (!alone) return plan.add(*bytes_, chunk.offset, chunk.bytes);
  for (std::uint64_t plane = 0; plane < element; ++plane)
    plan.add(*bytes_, chunk.offset + plane * in_chunk + first, elements);
}

void ChunkedRows::decode(std::size_t first, std::size_t count, PlannedBytes& bytes,
                         const RowSink& sink) const {
  for_each_run(first, count, [&](const Run& run) { sink(run.at, run.rows, decode_run(run, bytes)); });
}

/// Whether a chunk has cells of the part: chunks that divide the axis behind that of the rows divide rows into stretches.
bool ChunkedRows::has_cells_of(const RowPart& part, std::uint64_t index_in_block) const {
  for (std::size_t axis = layout_.shape.size(); axis-- > 2;) index_in_block /= map_.grid[axis];
  const std::uint64_t stretch = layout_.row_bytes() / layout_.shape[1] * layout_.chunk[1];
  const std::uint64_t begin = index_in_block * stretch;
  return begin < part.offset + part.bytes && begin + stretch > part.offset;
}

void ChunkedRows::plan_parts(std::size_t first, std::size_t count, const RowPart& part,
                             ReadPlan& plan) const {
  if (rows_are_whole() && !is_raw()) return this->plan(first, count, plan);
  for_each_run(first, count, [&](const Run& run) {
    const StoredChunk stored = first_stored(run.block);
    if (stored.bytes == 0) return;
    if (is_raw()) {
      for (std::size_t row = run.inside; row < run.inside + run.rows; ++row)
        plan.add(*bytes_, stored.offset + row * part.row_bytes + part.offset, part.bytes);
      return;
    }
    const std::uint64_t chunks = map_.chunks_per_block();
    for (std::uint64_t i = 0; i < chunks; ++i)
      if (const StoredChunk chunk = map_.at(run.block * chunks + i); chunk.bytes > 0 && has_cells_of(part, i))
        plan.add(*bytes_, chunk.offset, chunk.bytes);
  });
}

void ChunkedRows::decode_parts(std::size_t first, std::size_t count, const RowPart& part, PlannedBytes& bytes,
                               const RowSink& sink) const {
  if (rows_are_whole() && !is_raw()) return RowReader::decode_parts(first, count, part, bytes, sink);
  for_each_run(first, count, [&](const Run& run) {
    const StoredChunk stored = first_stored(run.block);
    if (stored.bytes == 0)
      return part.cut(run.at, run.rows, repeated(layout_.fill, run.rows * part.row_bytes).data(), sink);
    if (is_raw()) {
      for (std::size_t row = 0; row < run.rows; ++row) {
        const std::uint64_t at = stored.offset + (run.inside + row) * part.row_bytes + part.offset;
        sink(run.at + row, 1, bytes.next(*bytes_, at, part.bytes).data());
      }
      return;
    }
    const std::byte* rows = assemble(run, bytes, [&](std::uint64_t i) { return has_cells_of(part, i); });
    part.cut(run.at, run.rows, rows + run.inside * part.row_bytes, sink);
  });
}

const std::byte* ChunkedRows::decode_run(const Run& run, PlannedBytes& bytes) const {
  const std::size_t row_bytes = layout_.row_bytes();
  const StoredChunk stored = first_stored(run.block);
  if (stored.bytes == 0) return repeated(layout_.fill, run.rows * row_bytes).data();
  if (is_raw())
    return bytes.next(*bytes_, stored.offset + run.inside * row_bytes, run.rows * row_bytes).data();
  if (const auto* kept = bytes.next_decoded(*bytes_, stored.offset))
    return kept->data() + run.inside * row_bytes;
  const std::byte* rows = decode_block(run, bytes);
  if (run.is_part())  // the rest will be asked for soon
    decoded_->keep({this, run.block}, {rows, rows + run.block_rows * row_bytes});
  return rows + run.inside * row_bytes;
}

// The first that was written, so that it names the block; one of 0 bytes if none was.
StoredChunk ChunkedRows::first_stored(std::uint64_t block) const {
  const std::uint64_t chunks = map_.chunks_per_block();
  for (std::uint64_t i = 0; i < chunks; ++i)
    if (const StoredChunk chunk = map_.at(block * chunks + i); chunk.bytes > 0) return chunk;
  return {};
}

// All rows of one chunk along the first axis; several chunks if they divide the other axes too.
const std::byte* ChunkedRows::decode_block(const Run& run, PlannedBytes& bytes) const {
  if (rows_are_whole()) return decode_one(run.block, bytes, thread_scratch());
  return assemble(run, bytes, [](std::uint64_t) { return true; });
}

/// The rows of a block from those of its chunks that are wanted; the others' places hold anything.
template <class Wanted>
const std::byte* ChunkedRows::assemble(const Run& run, PlannedBytes& bytes, const Wanted& wanted) const {
  thread_local std::vector<std::byte> assembled;
  assembled.resize(run.block_rows * layout_.row_bytes());
  const std::uint64_t chunks = map_.chunks_per_block();
  for (std::uint64_t i = 0; i < chunks; ++i)
    if (wanted(i))
      place_chunk(decode_one(run.block * chunks + i, bytes, thread_scratch()), i, run.block_rows,
                  assembled.data());
  return assembled.data();
}

// The chunk in full, edge chunks too: they are stored so.
const std::byte* ChunkedRows::decode_one(std::uint64_t place, PlannedBytes& bytes,
                                         DecodeScratch& scratch) const {
  const StoredChunk chunk = map_.at(place);
  const std::size_t chunk_bytes = layout_.chunk_bytes();
  if (chunk.bytes == 0) return repeated(layout_.fill, chunk_bytes).data();
  const auto stored = bytes.next(*bytes_, chunk.offset, chunk.bytes);
  std::string why;
  const auto content = decode_chunk(layout_.filters, chunk.skip_mask, stored, chunk_bytes, scratch, why);
  if (content) return content->data();
  const auto row = place / map_.chunks_per_block() * layout_.chunk[0];
  throw DataError(fmt::format("{}, rows {} to {}: {}; fetch the file again", where_, row,
                              std::min<std::uint64_t>(row + layout_.chunk[0], layout_.rows()) - 1, why));
}

// Copies the part of a chunk that lies within the dataset, run by run along the last axis.
void ChunkedRows::place_chunk(const std::byte* chunk, std::uint64_t index_in_block, std::size_t rows_in_block,
                              std::byte* rows) const {
  const std::size_t axes = layout_.shape.size();
  std::vector<std::size_t> origin(axes, 0), extent(axes), at(axes, 0);
  extent[0] = rows_in_block;
  for (std::size_t axis = axes; axis-- > 1; index_in_block /= map_.grid[axis]) {
    origin[axis] = static_cast<std::size_t>(index_in_block % map_.grid[axis] * layout_.chunk[axis]);
    extent[axis] = std::min(static_cast<std::size_t>(layout_.chunk[axis]),
                            static_cast<std::size_t>(layout_.shape[axis]) - origin[axis]);
  }
  const std::size_t run = axes > 1 ? extent[axes - 1] * layout_.element_bytes : layout_.element_bytes;
  const std::size_t outer = axes > 1 ? axes - 1 : 1;
  while (at[0] < extent[0]) {
    std::size_t source = 0, target = 0;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      source = source * static_cast<std::size_t>(layout_.chunk[axis]) + at[axis];
      target = target * (axis == 0 ? rows_in_block : static_cast<std::size_t>(layout_.shape[axis])) +
               origin[axis] + at[axis];
    }
    std::memcpy(rows + target * layout_.element_bytes, chunk + source * layout_.element_bytes, run);
    std::size_t axis = outer;
    while (axis-- > 0) {
      if (++at[axis] < extent[axis] || axis == 0) break;
      at[axis] = 0;
    }
  }
}

}  // namespace bunchtrain::data
