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

bool ChunkedRows::rows_are_whole() const {
  return std::equal(layout_.shape.begin() + 1, layout_.shape.end(), layout_.chunk.begin() + 1);
}

void ChunkedRows::add_to(Hasher& hasher) const {
  hasher.update(bytes_of(map_.grid));
  hasher.update(bytes_of(map_.places));
  hasher.update(bytes_of(map_.chunks));
}

void ChunkedRows::read(std::size_t first, std::size_t count, const RowSink& sink) const {
  return is_raw() ? read_raw(first, count, sink) : read_decoded(first, count, sink);
}

void ChunkedRows::read_raw(std::size_t first, std::size_t count, const RowSink& sink) const {
  const std::size_t chunk_rows = static_cast<std::size_t>(layout_.chunk[0]);
  for (std::size_t row = first; row < first + count;) {
    const StoredChunk chunk = map_.at(row / chunk_rows);
    const std::size_t inside = row % chunk_rows;
    const std::size_t wanted = std::min(chunk_rows - inside, first + count - row);
    const auto rows = thread_scratch().stored.take(wanted * layout_.row_bytes());
    if (chunk.bytes > 0) {
      bytes_->read(chunk.offset + inside * layout_.row_bytes(), rows);
    } else {
      repeat(layout_.fill, rows);
    }
    sink(row - first, wanted, rows.data());
    row += wanted;
  }
}

void ChunkedRows::read_decoded(std::size_t first, std::size_t count, const RowSink& sink) const {
  const std::size_t chunk_rows = static_cast<std::size_t>(layout_.chunk[0]);
  DecodeScratch& scratch = thread_scratch();
  thread_local std::vector<std::byte> assembled;
  for (std::size_t row = first; row < first + count;) {
    const std::uint64_t block = row / chunk_rows;
    const std::size_t inside = row % chunk_rows;
    const std::size_t in_block = std::min(chunk_rows, layout_.rows() - block * chunk_rows);
    const std::size_t wanted = std::min(in_block - inside, first + count - row);
    const bool in_part = wanted < in_block;  // the rest will be asked for soon
    const auto kept = in_part ? decoded_->find({this, block}) : nullptr;
    const std::byte* rows = kept ? kept->data() : decode_row_block(block, scratch, assembled);
    if (in_part && !kept) decoded_->keep({this, block}, {rows, rows + in_block * layout_.row_bytes()});
    sink(row - first, wanted, rows + inside * layout_.row_bytes());
    row += wanted;
  }
}

// All rows of one chunk along the first axis; several chunks if they divide the other axes too.
const std::byte* ChunkedRows::decode_row_block(std::uint64_t block, DecodeScratch& scratch,
                                               std::vector<std::byte>& rows) const {
  if (rows_are_whole()) return decode_one(block, scratch);
  const auto chunk_rows = static_cast<std::size_t>(layout_.chunk[0]);
  const std::size_t in_block = std::min(chunk_rows, layout_.rows() - block * chunk_rows);
  rows.resize(in_block * layout_.row_bytes());
  const std::uint64_t chunks_per_block = map_.chunks_per_block();
  for (std::uint64_t i = 0; i < chunks_per_block; ++i)
    place_chunk(decode_one(block * chunks_per_block + i, scratch), i, in_block, rows.data());
  return rows.data();
}

// The chunk in full, edge chunks too: they are stored so.
const std::byte* ChunkedRows::decode_one(std::uint64_t place, DecodeScratch& scratch) const {
  const StoredChunk chunk = map_.at(place);
  const std::size_t chunk_bytes = layout_.chunk_bytes();
  if (chunk.bytes == 0) {
    const auto filled = scratch.first.take(chunk_bytes);
    repeat(layout_.fill, filled);
    return filled.data();
  }
  const auto stored = scratch.stored.take(chunk.bytes);
  bytes_->read(chunk.offset, stored);
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
