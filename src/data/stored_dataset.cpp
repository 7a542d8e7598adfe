// SPDX-License-Identifier: Apache-2.0
#include "stored_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "decoded_chunks.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

enum class Access { contiguous, raw_chunks, chunks, library };

DecodeScratch& thread_scratch() {
  thread_local DecodeScratch scratch;
  return scratch;
}

// Numbers only: members of variable length would make HDF5 allocate memory that nobody frees.
hdf5::Datatype memory_type(hid_t dataset, const DatasetLayout& layout, const std::string& where) {
  hdf5::Datatype stored(check(H5Dget_type(dataset), where));
  if (layout.members.empty()) return stored;
  hdf5::Datatype numbers(check(H5Tcreate(H5T_COMPOUND, layout.element_bytes), where));
  for (std::size_t i = 0; i < layout.members.size(); ++i) {
    if (!layout.members[i].type) continue;
    const hdf5::Datatype member(check(H5Tget_member_type(stored.get(), static_cast<unsigned>(i)), where));
    check(H5Tinsert(numbers.get(), layout.members[i].name.c_str(), layout.members[i].offset, member.get()),
          where);
  }
  return numbers;
}

std::size_t member_bytes(const CompoundMember& member) {
  std::size_t bytes = member.type->bytes;
  for (const auto extent : member.shape) bytes *= extent;
  return bytes;
}

// Whether two rows agree in all that we read of them.
bool same_numbers(const DatasetLayout& layout, const std::byte* a, const std::byte* b) {
  if (layout.members.empty()) return std::memcmp(a, b, layout.row_bytes()) == 0;
  for (std::size_t at = 0; at < layout.row_bytes(); at += layout.element_bytes)
    for (const auto& member : layout.members)
      if (member.type &&
          std::memcmp(a + at + member.offset, b + at + member.offset, member_bytes(member)) != 0)
        return false;
  return true;
}

std::size_t product_behind_first(const std::vector<hsize_t>& extents) {
  std::size_t product = 1;
  for (std::size_t axis = 1; axis < extents.size(); ++axis)
    product *= static_cast<std::size_t>(extents[axis]);
  return product;
}

}  // namespace

struct StoredDataset::Impl {
  std::shared_ptr<const hdf5::File> file;
  std::shared_ptr<const FileBytes> bytes;
  hdf5::Dataset dataset;
  DatasetLayout layout;
  std::string where;
  Access access = Access::library;
  std::string reason;      // why H5Dread
  std::uint64_t base = 0;  // of contiguous data
  bool written = true;     // contiguous data may never have been
  ChunkMap map;
  std::unique_ptr<DecodedChunks> decoded;

  ~Impl() { release(); }

  /// Gives HDF5's handles back; a direct way of reading needs none.
  void release() {
    const hdf5::LibraryLock lock;
    dataset.reset();
    file.reset();
  }

  void choose_access();
  void try_chunks(hid_t create);
  void compare_with_library();
  void require_filters() const;
  void read(std::size_t first, std::size_t count, const RowSink& sink) const;
  void read_contiguous(std::size_t first, std::size_t count, const RowSink& sink) const;
  void read_raw_chunks(std::size_t first, std::size_t count, const RowSink& sink) const;
  void read_chunks(std::size_t first, std::size_t count, const RowSink& sink) const;
  void read_library(hid_t from, std::size_t first, std::size_t count, const RowSink& sink) const;
  const std::byte* decode_row_block(std::uint64_t block, DecodeScratch& scratch,
                                    std::vector<std::byte>& rows) const;
  const std::byte* decode_one(std::uint64_t index, DecodeScratch& scratch) const;
  void place_chunk(const std::byte* chunk, std::uint64_t index_in_block, std::size_t rows_in_block,
                   std::byte* rows) const;
  void fill(std::span<std::byte> out) const;
  bool rows_are_whole() const;
};

StoredDataset::StoredDataset(std::shared_ptr<const hdf5::File> file, std::shared_ptr<const FileBytes> bytes,
                             const std::string& name)
    : impl_(std::make_unique<Impl>()) {
  const hdf5::LibraryLock lock;
  impl_->where = fmt::format("{}, dataset '{}'", bytes->path(), name);
  impl_->file = std::move(file);
  impl_->bytes = std::move(bytes);
  impl_->dataset.reset(check(H5Dopen2(impl_->file->get(), name.c_str(), H5P_DEFAULT), impl_->where));
  impl_->layout = describe_dataset(impl_->dataset.get(), name, impl_->where);
  impl_->choose_access();
  if (impl_->access != Access::library) impl_->release();
}

StoredDataset::~StoredDataset() = default;
StoredDataset::StoredDataset(StoredDataset&&) noexcept = default;
StoredDataset& StoredDataset::operator=(StoredDataset&&) noexcept = default;

const DatasetLayout& StoredDataset::layout() const noexcept { return impl_->layout; }
const std::string& StoredDataset::where() const noexcept { return impl_->where; }

std::string StoredDataset::path_text() const {
  switch (impl_->access) {
    case Access::contiguous:
      return "pread";
    case Access::raw_chunks:
      return "pread of chunks";
    case Access::chunks:
      return "pread + own inflate";
    default:
      return fmt::format("H5Dread ({})", impl_->reason);
  }
}

std::size_t StoredDataset::rows_per_chunk() const noexcept {
  return impl_->layout.chunk.empty() ? 1 : static_cast<std::size_t>(impl_->layout.chunk[0]);
}

void StoredDataset::read(std::size_t first, std::size_t count, const RowSink& sink) const {
  impl_->read(first, count, sink);
}

void StoredDataset::read_by_library(std::size_t first, std::size_t count, const RowSink& sink) const {
  const hdf5::LibraryLock lock;
  if (impl_->dataset) return impl_->read_library(impl_->dataset.get(), first, count, sink);
  const hdf5::File file = hdf5::open_read_only(impl_->bytes->path());
  const hdf5::Dataset dataset(
      check(H5Dopen2(file.get(), impl_->layout.name.c_str(), H5P_DEFAULT), impl_->where));
  impl_->read_library(dataset.get(), first, count, sink);
}

void StoredDataset::Impl::choose_access() {
  require_filters();
  if (layout.shape.empty() || layout.rows() == 0 || layout.row_bytes() == 0) {
    reason = "no rows";
    return;
  }
  const hdf5::PropertyList create(check(H5Dget_create_plist(dataset.get()), where));
  if (layout.storage == H5D_CONTIGUOUS && check(H5Pget_external_count(create.get()), where) == 0) {
    const haddr_t offset = H5Dget_offset(dataset.get());
    written = offset != HADDR_UNDEF;
    base = written ? offset : 0;
    access = Access::contiguous;
  } else if (layout.storage == H5D_CHUNKED) {
    try_chunks(create.get());
  } else {
    reason = layout.storage == H5D_COMPACT   ? "compact"
             : layout.storage == H5D_VIRTUAL ? "virtual dataset"
                                             : "values in external files";
  }
  if (access != Access::library) compare_with_library();
}

void StoredDataset::Impl::try_chunks(hid_t create) {
  const auto unknown = std::find_if(layout.filters.begin(), layout.filters.end(),
                                    [](const auto& f) { return !can_decode(f); });
  if (unknown != layout.filters.end()) {
    reason = "filter " + describe(*unknown);
    return;
  }
  unsigned options = 0;
  check(H5Pget_chunk_opts(create, &options), where);
  if ((options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0 && !layout.filters.empty()) {
    reason = "chunks at the edge are stored without the filters";
    return;
  }
  map = map_chunks(file->get(), dataset.get(), layout, *bytes, where);
  const bool raw = layout.filters.empty() && rows_are_whole();
  access = raw ? Access::raw_chunks : Access::chunks;
  decoded = std::make_unique<DecodedChunks>();
}

// The last filter is the first to be undone; without it HDF5 cannot read a byte.
void StoredDataset::Impl::require_filters() const {
  for (const auto& filter : layout.filters) {
    if (H5Zfilter_avail(filter.id) > 0 || can_decode(filter)) continue;
    throw DataError(fmt::format(
        "{}: compressed with {}, which this HDF5 cannot read; rewrite the file with `h5repack -f GZIP=4 IN "
        "OUT` where the filter "
        "is installed, or allow filter plug-ins (--hdf5-plugins, with HDF5_PLUGIN_PATH naming their folder)",
        where, describe(filter)));
  }
}

// Address arithmetic has gone wrong in several versions of HDF5 (userblocks): one row tells.
void StoredDataset::Impl::compare_with_library() {
  const std::size_t row = layout.rows() / 2;
  std::vector<std::byte> expected(layout.row_bytes());
  read_library(dataset.get(), row, 1, [&](std::size_t, std::size_t, const std::byte* read) {
    std::copy_n(read, expected.size(), expected.data());
  });
  bool same = false;
  try {
    read(row, 1, [&](std::size_t, std::size_t, const std::byte* read) {
      same = same_numbers(layout, read, expected.data());
    });
  } catch (const DataError&) {
    same = false;
  }
  if (same) return;
  access = Access::library;
  reason = "our map of it disagrees with HDF5's";
}

bool StoredDataset::Impl::rows_are_whole() const {
  return std::equal(layout.shape.begin() + 1, layout.shape.end(), layout.chunk.begin() + 1);
}

void StoredDataset::Impl::read(std::size_t first, std::size_t count, const RowSink& sink) const {
  if (count == 0) return;
  switch (access) {
    case Access::contiguous:
      return read_contiguous(first, count, sink);
    case Access::raw_chunks:
      return read_raw_chunks(first, count, sink);
    case Access::chunks:
      return read_chunks(first, count, sink);
    default:
      return read_library(dataset.get(), first, count, sink);
  }
}

void StoredDataset::Impl::fill(std::span<std::byte> out) const {
  for (std::size_t at = 0; at < out.size(); at += layout.fill.size())
    std::copy(layout.fill.begin(), layout.fill.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
}

void StoredDataset::Impl::read_contiguous(std::size_t first, std::size_t count, const RowSink& sink) const {
  const auto rows = thread_scratch().stored.take(count * layout.row_bytes());
  if (written) {
    bytes->read(base + first * layout.row_bytes(), rows);
  } else {
    fill(rows);
  }
  sink(0, count, rows.data());
}

void StoredDataset::Impl::read_raw_chunks(std::size_t first, std::size_t count, const RowSink& sink) const {
  const std::size_t chunk_rows = static_cast<std::size_t>(layout.chunk[0]);
  for (std::size_t row = first; row < first + count;) {
    const StoredChunk& chunk = map.chunks[row / chunk_rows];
    const std::size_t inside = row % chunk_rows;
    const std::size_t wanted = std::min(chunk_rows - inside, first + count - row);
    const auto rows = thread_scratch().stored.take(wanted * layout.row_bytes());
    if (chunk.bytes > 0) {
      bytes->read(chunk.offset + inside * layout.row_bytes(), rows);
    } else {
      fill(rows);
    }
    sink(row - first, wanted, rows.data());
    row += wanted;
  }
}

void StoredDataset::Impl::read_chunks(std::size_t first, std::size_t count, const RowSink& sink) const {
  const std::size_t chunk_rows = static_cast<std::size_t>(layout.chunk[0]);
  DecodeScratch& scratch = thread_scratch();
  thread_local std::vector<std::byte> assembled;
  for (std::size_t row = first; row < first + count;) {
    const std::uint64_t block = row / chunk_rows;
    const std::size_t inside = row % chunk_rows;
    const std::size_t in_block = std::min(chunk_rows, layout.rows() - block * chunk_rows);
    const std::size_t wanted = std::min(in_block - inside, first + count - row);
    const bool in_part = wanted < in_block;  // the rest will be asked for soon
    const auto kept = in_part ? decoded->find(block) : nullptr;
    const std::byte* rows = kept ? kept->data() : decode_row_block(block, scratch, assembled);
    if (in_part && !kept) decoded->keep(block, {rows, rows + in_block * layout.row_bytes()});
    sink(row - first, wanted, rows + inside * layout.row_bytes());
    row += wanted;
  }
}

// All rows of one chunk along the first axis; several chunks if they divide the other axes too.
const std::byte* StoredDataset::Impl::decode_row_block(std::uint64_t block, DecodeScratch& scratch,
                                                       std::vector<std::byte>& rows) const {
  std::uint64_t chunks_per_block = 1;
  for (std::size_t axis = 1; axis < map.grid.size(); ++axis) chunks_per_block *= map.grid[axis];
  if (rows_are_whole()) return decode_one(block, scratch);
  const auto chunk_rows = static_cast<std::size_t>(layout.chunk[0]);
  const std::size_t in_block = std::min(chunk_rows, layout.rows() - block * chunk_rows);
  rows.resize(in_block * layout.row_bytes());
  for (std::uint64_t i = 0; i < chunks_per_block; ++i)
    place_chunk(decode_one(block * chunks_per_block + i, scratch), i, in_block, rows.data());
  return rows.data();
}

// The chunk in full, edge chunks too: they are stored so.
const std::byte* StoredDataset::Impl::decode_one(std::uint64_t index, DecodeScratch& scratch) const {
  const StoredChunk& chunk = map.chunks[index];
  const std::size_t chunk_bytes =
      static_cast<std::size_t>(layout.chunk[0]) * product_behind_first(layout.chunk) * layout.element_bytes;
  if (chunk.bytes == 0) {
    const auto filled = scratch.first.take(chunk_bytes);
    fill(filled);
    return filled.data();
  }
  const auto stored = scratch.stored.take(chunk.bytes);
  bytes->read(chunk.offset, stored);
  std::string why;
  const auto content = decode_chunk(layout.filters, chunk.skip_mask, stored, chunk_bytes, scratch, why);
  if (content) return content->data();
  std::uint64_t block = index;
  for (std::size_t axis = 1; axis < map.grid.size(); ++axis) block /= map.grid[axis];
  const auto row = block * layout.chunk[0];
  throw DataError(fmt::format("{}, rows {} to {}: {}; fetch the file again", where, row,
                              std::min<std::uint64_t>(row + layout.chunk[0], layout.rows()) - 1, why));
}

// Copies the part of a chunk that lies within the dataset, run by run along the last axis.
void StoredDataset::Impl::place_chunk(const std::byte* chunk, std::uint64_t index_in_block,
                                      std::size_t rows_in_block, std::byte* rows) const {
  const std::size_t axes = layout.shape.size();
  std::vector<std::size_t> origin(axes, 0), extent(axes), at(axes, 0);
  extent[0] = rows_in_block;
  for (std::size_t axis = axes; axis-- > 1; index_in_block /= map.grid[axis]) {
    origin[axis] = static_cast<std::size_t>(index_in_block % map.grid[axis] * layout.chunk[axis]);
    extent[axis] = std::min(static_cast<std::size_t>(layout.chunk[axis]),
                            static_cast<std::size_t>(layout.shape[axis]) - origin[axis]);
  }
  const std::size_t run = axes > 1 ? extent[axes - 1] * layout.element_bytes : layout.element_bytes;
  const std::size_t outer = axes > 1 ? axes - 1 : 1;
  while (at[0] < extent[0]) {
    std::size_t source = 0, target = 0;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      source = source * static_cast<std::size_t>(layout.chunk[axis]) + at[axis];
      target = target * (axis == 0 ? rows_in_block : static_cast<std::size_t>(layout.shape[axis])) +
               origin[axis] + at[axis];
    }
    std::memcpy(rows + target * layout.element_bytes, chunk + source * layout.element_bytes, run);
    std::size_t axis = outer;
    while (axis-- > 0) {
      if (++at[axis] < extent[axis] || axis == 0) break;
      at[axis] = 0;
    }
  }
}

void StoredDataset::Impl::read_library(hid_t from, std::size_t first, std::size_t count,
                                       const RowSink& sink) const {
  std::vector<std::byte> rows(count * layout.row_bytes());
  {
    const hdf5::LibraryLock lock;
    const std::string what = fmt::format("{}, rows {} to {}", where, first, first + count - 1);
    std::vector<hsize_t> start(layout.shape.size(), 0);
    std::vector<hsize_t> extent(layout.shape);
    start[0] = first;
    extent[0] = count;
    const hdf5::Dataspace space(check(H5Dget_space(from), what));
    check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr),
          what);
    const hdf5::Dataspace memory(
        check(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), what));
    const auto type = memory_type(from, layout, what);
    check(H5Dread(from, type.get(), memory.get(), space.get(), H5P_DEFAULT, rows.data()), what);
  }
  sink(0, count, rows.data());
}

}  // namespace bunchtrain::data
