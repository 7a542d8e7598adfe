// SPDX-License-Identifier: Apache-2.0
#include "stored_dataset.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/wording.hpp"
#include "chunked_rows.hpp"
#include "contiguous_rows.hpp"
#include "external_values.hpp"
#include "io/engine.hpp"
#include "library_rows.hpp"
#include "open_files.hpp"
#include "unreadable_object.hpp"
#include "virtual_rows.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

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

bool library_can_decode(const DatasetLayout& layout) {
  return std::ranges::all_of(layout.filters, [](const auto& f) { return H5Zfilter_avail(f.id) > 0; });
}

// An external link may have led to another file.
std::string file_of(hid_t dataset, const std::string& where) {
  std::string name(static_cast<std::size_t>(check(H5Fget_name(dataset, nullptr, 0), where)) + 1, '\0');
  check(H5Fget_name(dataset, name.data(), name.size()), where);
  name.pop_back();
  return name;
}

}  // namespace

struct StoredDataset::Impl {
  std::shared_ptr<const hdf5::File> file;
  std::shared_ptr<const FileBytes> bytes;
  hdf5::Dataset dataset;
  SourceContext context;
  DatasetLayout layout;
  std::string opened_path;  // a link may lead from there to another file
  std::string where;
  std::unique_ptr<const RowReader> reader;
  std::unique_ptr<const RowReader> own;  // our way where H5Dread was asked for
  std::vector<AbsentRows> absent;

  ~Impl() { release(); }

  /// Gives HDF5's handles back; a direct way of reading needs none.
  void release() {
    const hdf5::LibraryLock lock;
    dataset.reset();
    file.reset();
  }

  void open(const std::string& name);
  void choose_reader();
  void look_at_chunks(hid_t create);
  void look_at_sources_of(hid_t create);
  void read_by_library(std::string reason, std::vector<std::string> other_files = {});
  void compare_with_library();
  void require_filters() const;
  bool wants_library() const;
  std::size_t rows_at_once() const;
  void read(const RowReader& by, std::size_t first, std::size_t count, const RowSink& sink) const;
};

StoredDataset::StoredDataset(std::shared_ptr<const hdf5::File> file, std::shared_ptr<const FileBytes> bytes,
                             const std::string& name, SourceContext context)
    : impl_(std::make_unique<Impl>()) {
  const hdf5::LibraryLock lock;
  if (!context.decoded) context.decoded = std::make_shared<DecodedChunks>();
  impl_->context = std::move(context);
  impl_->context.engine = bytes->engine();
  impl_->file = std::move(file);
  impl_->bytes = std::move(bytes);
  impl_->open(name);
  impl_->choose_reader();
}

StoredDataset::~StoredDataset() = default;
StoredDataset::StoredDataset(StoredDataset&&) noexcept = default;
StoredDataset& StoredDataset::operator=(StoredDataset&&) noexcept = default;

const DatasetLayout& StoredDataset::layout() const noexcept { return impl_->layout; }
const std::string& StoredDataset::where() const noexcept { return impl_->where; }
const std::string& StoredDataset::path() const noexcept { return impl_->bytes->path(); }
std::vector<std::string> StoredDataset::other_files() const { return impl_->reader->other_files(); }
std::vector<std::shared_ptr<const StoredDataset>> StoredDataset::sources() const {
  std::vector<std::shared_ptr<const StoredDataset>> all;
  for (const auto& source : impl_->reader->sources()) {
    const auto inner = source->sources();
    if (inner.empty()) all.push_back(source);
    all.insert(all.end(), inner.begin(), inner.end());
  }
  return all;
}

std::string StoredDataset::path_text() const { return impl_->reader->way(); }
std::string StoredDataset::why_not_plain() const { return impl_->reader->why_not_plain(); }
std::size_t StoredDataset::rows_per_chunk() const noexcept { return impl_->reader->rows_together(); }
const std::vector<AbsentRows>& StoredDataset::absent() const noexcept { return impl_->absent; }

RowSpans StoredDataset::absent_rows() const {
  RowSpans rows;
  for (const auto& some : impl_->absent) rows.insert(rows.end(), some.rows.begin(), some.rows.end());
  return normalised(std::move(rows));
}

void StoredDataset::require_rows(bool fill) const {
  constexpr std::size_t kMost = 3;
  std::vector<std::string> reasons;
  std::size_t left_out = 0;
  bool may_be_filled = true;
  for (const auto& some : impl_->absent) {
    if (fill && some.may_be_filled) continue;
    may_be_filled = may_be_filled && some.may_be_filled;
    if (reasons.size() == kMost) {
      ++left_out;
    } else {
      reasons.push_back(fmt::format("{} {}", to_string(some.rows), some.why));
    }
  }
  if (reasons.empty()) return;
  const std::string more = left_out > 0 ? fmt::format("; and {} more such places", left_out) : "";
  const std::string mend =
      may_be_filled
          ? "put the source back or write the file again; or, where the fill value is what is meant, "
            "say missing = \"fill\" at the top of the card (of a copy, if it is a built-in one)"
          : "make the file readable";
  throw DataError(fmt::format("{}: {}{}; {}", where(), fmt::join(reasons, "; "), more, mend));
}

void StoredDataset::plan(std::size_t first, std::size_t count, ReadPlan& plan) const {
  if (count > 0) impl_->reader->plan(first, count, plan);
}

void StoredDataset::plan_as_stored(std::size_t first, std::size_t count, ReadPlan& plan,
                                   ShuffledBlocks& shuffled) const {
  if (count > 0) impl_->reader->plan_as_stored(first, count, plan, shuffled);
}

void StoredDataset::decode(std::size_t first, std::size_t count, PlannedBytes& bytes,
                           const RowSink& sink) const {
  if (count > 0) impl_->reader->decode(first, count, bytes, sink);
}

void StoredDataset::plan_parts(std::size_t first, std::size_t count, const RowPart& part,
                               ReadPlan& plan) const {
  if (count > 0) impl_->reader->plan_parts(first, count, part, plan);
}

void StoredDataset::decode_parts(std::size_t first, std::size_t count, const RowPart& part,
                                 PlannedBytes& bytes, const RowSink& sink) const {
  if (count > 0) impl_->reader->decode_parts(first, count, part, bytes, sink);
}

void StoredDataset::read(std::size_t first, std::size_t count, const RowSink& sink) const {
  impl_->read(*impl_->reader, first, count, sink);
}

void StoredDataset::read_stored(std::size_t first, std::size_t count, const RowSink& sink) const {
  impl_->read(impl_->own ? *impl_->own : *impl_->reader, first, count, sink);
}

void StoredDataset::Impl::read(const RowReader& by, std::size_t first, std::size_t count,
                               const RowSink& sink) const {
  const std::size_t step = rows_at_once();
  for (std::size_t row = first; row < first + count;) {
    const std::size_t rows = std::min(step - row % step, first + count - row);
    by.read(row, rows, [&](std::size_t at, std::size_t some, const std::byte* bytes) {
      sink(row - first + at, some, bytes);
    });
    row += rows;
  }
}

void StoredDataset::read_by_library(std::size_t first, std::size_t count, const RowSink& sink) const {
  const hdf5::LibraryLock lock;
  const hdf5::File file = hdf5::open_read_only(impl_->opened_path);
  const hdf5::Dataset dataset(
      check(H5Dopen2(file.get(), impl_->layout.name.c_str(), H5P_DEFAULT), impl_->where));
  std::vector<std::byte> rows(count * impl_->layout.row_bytes());
  data::read_by_library(dataset.get(), impl_->layout, first, rows, impl_->where);
  sink(0, count, rows.data());
}

void StoredDataset::add_structure(Hasher& hasher) const {
  const std::string text = fmt::format("{} bytes, {}", impl_->bytes->size(), to_string(impl_->layout));
  hasher.update(std::as_bytes(std::span(text)));
  for (const RowSpan& span : absent_rows()) hasher.update(std::as_bytes(std::span(&span, 1)));
  if (impl_->layout.rows() > 0) (impl_->own ? *impl_->own : *impl_->reader).add_to(hasher);
}

void StoredDataset::Impl::open(const std::string& name) {
  opened_path = bytes->path();
  where = fmt::format("{}, dataset '{}'", opened_path, name);
  const hdf5::PropertyList access = hdf5::read_only_access();
  dataset.reset(
      hdf5::try_again([&] { return H5Dopen2(file->get(), name.c_str(), access.get()); }, hdf5::last_errno));
  if (!dataset) refuse_object(file->get(), name, where);
  const std::string actual = file_of(dataset.get(), where);
  if (actual != file_of(file->get(), where)) {
    where += fmt::format(" (by a link to {})", actual);
    bytes = std::make_shared<const FileBytes>(actual, bytes->engine());
    file = std::make_shared<const hdf5::File>(check(H5Iget_file_id(dataset.get()), where));
  }
  layout = describe_dataset(dataset.get(), name, where);
}

void StoredDataset::Impl::choose_reader() {
  require_filters();
  const hdf5::PropertyList create(check(H5Dget_create_plist(dataset.get()), where));
  if (layout.storage == H5D_VIRTUAL) return look_at_sources_of(create.get());
  if (layout.shape.empty() || layout.rows() == 0 || layout.row_bytes() == 0)
    return read_by_library("no rows");
  if (layout.storage == H5D_CHUNKED) return look_at_chunks(create.get());
  if (layout.storage == H5D_COMPACT) return read_by_library("compact");
  if (check(H5Pget_external_count(create.get()), where) > 0) {
    auto values = look_at_external_values(create.get(), layout, bytes->path(), where);
    absent = std::move(values.absent);
    return read_by_library("values in external files", std::move(values.files));
  }
  const haddr_t offset = H5Dget_offset(dataset.get());
  // In a file with a user block HDF5 1.10 adds its size to "undefined", too.
  const bool written = offset != HADDR_UNDEF && H5Dget_storage_size(dataset.get()) > 0;
  if (!written) absent.emplace_back(RowSpans{{0, layout.rows()}}, "were never written");
  reader = std::make_unique<ContiguousRows>(
      bytes, layout, written ? std::optional<std::uint64_t>(offset) : std::nullopt, where);
  compare_with_library();
}

void StoredDataset::Impl::look_at_chunks(hid_t create) {
  ChunkMap map = map_chunks(file->get(), dataset.get(), layout, *bytes, where);
  const auto chunk_rows = layout.chunk[0];
  if (auto never = map.rows_without_chunks(layout.rows(), chunk_rows); !never.empty())
    absent.emplace_back(std::move(never), "were never written");
  if (auto in_part = map.rows_with_some_chunks(layout.rows(), chunk_rows); !in_part.empty())
    absent.emplace_back(std::move(in_part), "were written in part only");
  const auto unknown = std::find_if(layout.filters.begin(), layout.filters.end(),
                                    [](const auto& f) { return !can_decode(f); });
  if (unknown != layout.filters.end()) return read_by_library("filter " + describe(*unknown));
  unsigned options = 0;
  check(H5Pget_chunk_opts(create, &options), where);
  if ((options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0 && !layout.filters.empty())
    return read_by_library("chunks at the edge are stored without the filters");
  if (!map.has_addresses)
    return read_by_library(
        fmt::format("more chunks than HDF5 {}.{} can map in this format", H5_VERS_MAJOR, H5_VERS_MINOR));
  reader = std::make_unique<ChunkedRows>(bytes, layout, std::move(map), context.decoded, where);
  compare_with_library();
}

void StoredDataset::Impl::look_at_sources_of(hid_t create) {
  VirtualContents contents = look_at_sources(create, layout, bytes->path(), context, where);
  if (layout.rows() == 0 || layout.row_bytes() == 0) return read_by_library("no rows");
  absent = contents.absent;
  if (!contents.by_rows) {
    // HDF5 keeps all of them open, and reads what it cannot open as the fill value.
    if (!hdf5::allow_open_files(contents.files.size()))
      throw DataError(
          fmt::format("{}: its {} sources have to be open at once; allow more open files with "
                      "`ulimit -n`",
                      where, contents.files.size()));
    read_by_library("virtual dataset", std::move(contents.files));
    // Now, while they are there: it keeps what it has opened.
    for (const std::uint64_t row : contents.first_rows)
      reader->read(row, 1, [](std::size_t, std::size_t, const std::byte*) {});
    return;
  }
  reader = std::make_unique<VirtualRows>(layout, std::move(contents));
  release();
}

void StoredDataset::Impl::read_by_library(std::string reason, std::vector<std::string> other_files) {
  own = std::move(reader);
  auto rows = std::make_unique<const LibraryBytes>(std::move(file), std::move(dataset), layout, bytes->path(),
                                                   opened_path, where);
  reader = std::make_unique<LibraryRows>(std::move(rows), layout, std::move(reason), std::move(other_files));
}

// The last filter is the first to be undone; without it HDF5 cannot read a byte.
void StoredDataset::Impl::require_filters() const {
  for (const auto& filter : layout.filters) {
    if (H5Zfilter_avail(filter.id) > 0 || (can_decode(filter) && !wants_library())) continue;
    if (can_decode(filter))
      throw DataError(
          fmt::format("{}: compressed with {}, which HDF5 cannot read here, though {} asks for it; {} "
                      "reads it without HDF5",
                      where, describe(filter), setting("io", "hdf5"), setting("io", "auto")));
    throw DataError(fmt::format("{}: compressed with {}, which this HDF5 cannot read; {}", where,
                                describe(filter), way_out_of(filter)));
  }
}

bool StoredDataset::Impl::wants_library() const {
  return bytes->engine() != nullptr && bytes->engine()->kind() == IoEngine::hdf5;
}

// Whole chunks where they are small.
std::size_t StoredDataset::Impl::rows_at_once() const {
  constexpr std::size_t kBytesAtOnce = std::size_t{4} << 20;
  const std::size_t together = reader->rows_together();
  const std::size_t bytes = std::max<std::size_t>(together * layout.row_bytes(), 1);
  return together * std::max<std::size_t>(kBytesAtOnce / bytes, 1);
}

// Address arithmetic has gone wrong in several versions of HDF5 (userblocks): one row tells.
void StoredDataset::Impl::compare_with_library() {
  const std::size_t row = layout.rows() / 2;
  std::vector<std::byte> ours(layout.row_bytes()), theirs(layout.row_bytes());
  std::exception_ptr failure;
  try {
    reader->read(row, 1, [&](std::size_t, std::size_t, const std::byte* bytes) {
      std::copy_n(bytes, ours.size(), ours.data());
    });
  } catch (const DataError&) {
    failure = std::current_exception();
  }
  try {
    if (!library_can_decode(layout)) {
      if (failure) std::rethrow_exception(failure);
      return release();
    }
    data::read_by_library(dataset.get(), layout, row, theirs, where);
  } catch (const DataError&) {
    if (failure) std::rethrow_exception(failure);  // damaged: our words name the rows
    throw;
  }
  const bool agrees = !failure && same_numbers(layout, ours.data(), theirs.data());
  if (agrees && wants_library()) return read_by_library("asked for");
  if (agrees) return release();
  reader.reset();
  read_by_library("our map of it disagrees with HDF5's");
}

}  // namespace bunchtrain::data
