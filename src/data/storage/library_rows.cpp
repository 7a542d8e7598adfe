// SPDX-License-Identifier: Apache-2.0
#include "library_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bunchtrain/core/hash.hpp"
#include "open_files.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

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

/// HDF5 refuses to read no member of a compound, which is what is wanted of one of texts alone.
bool has_numbers(const DatasetLayout& layout) {
  return layout.members.empty() || std::ranges::any_of(layout.members, [](const CompoundMember& member) {
           return member.type.has_value();
         });
}

}  // namespace

void read_by_library(hid_t dataset, const DatasetLayout& layout, std::size_t first, std::span<std::byte> rows,
                     const std::string& where) {
  if (rows.empty()) return;
  if (!layout.members.empty()) std::ranges::fill(rows, std::byte{});  // what lies between the numbers
  if (!has_numbers(layout)) return;
  const hdf5::LibraryLock lock;
  const std::size_t count = rows.size() / layout.row_bytes();
  const std::string what = fmt::format("{}, rows {} to {}", where, first, first + count - 1);
  std::vector<hsize_t> start(layout.shape.size(), 0);
  std::vector<hsize_t> extent(layout.shape);
  start[0] = first;
  extent[0] = count;
  const hdf5::Dataspace space(check(H5Dget_space(dataset), what));
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr),
        what);
  const hdf5::Dataspace memory(
      check(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), what));
  const auto type = memory_type(dataset, layout, what);
  const auto read = [&] {
    return H5Dread(dataset, type.get(), memory.get(), space.get(), H5P_DEFAULT, rows.data());
  };
  check(hdf5::try_again(read, hdf5::last_errno), what);
  // Nobody reads values of variable length, but HDF5 has allocated them.
  if (H5Tdetect_class(type.get(), H5T_VLEN) > 0 || H5Tis_variable_str(type.get()) > 0)
    H5Dvlen_reclaim(type.get(), memory.get(), H5P_DEFAULT, rows.data());
}

LibraryBytes::LibraryBytes(std::shared_ptr<const hdf5::File> file, hdf5::Dataset dataset,
                           const DatasetLayout& layout, std::string path, std::string opened_path,
                           std::string where)
    : file_(std::move(file)),
      dataset_(std::move(dataset)),
      layout_(layout),
      watch_(std::move(path)),
      opened_path_(std::move(opened_path)),
      where_(std::move(where)) {
  if (!may_close()) return;
  const hdf5::LibraryLock lock;
  make_room();
  place_ = order().insert(order().begin(), this);
}

LibraryBytes::~LibraryBytes() {
  const hdf5::LibraryLock lock;
  close();
}

// Never destroyed: datasets of static lifetime may outlive it.
LibraryBytes::Order& LibraryBytes::order() {
  static auto* open = new Order;
  return *open;
}

// A quarter of it: files that are read by offset have the rest.
void LibraryBytes::make_room() {
  const auto is_full = [] { return order().size() >= hdf5::room_for_files() / 4; };
  if (is_full()) hdf5::raise_open_file_limit();
  while (is_full()) order().back()->close();
}

void LibraryBytes::close() const {
  if (dataset_ && may_close()) order().erase(place_);
  dataset_.reset();
  file_.reset();
}

/// Opens it again where it was closed.
void LibraryBytes::use() const {
  if (!may_close()) return;
  if (dataset_) return order().splice(order().begin(), order(), place_);
  make_room();
  watch_.look();
  file_ = std::make_shared<const hdf5::File>(hdf5::open_read_only(opened_path_));
  const hdf5::PropertyList access = hdf5::read_only_access();
  dataset_.reset(hdf5::try_again([&] { return H5Dopen2(file_->get(), layout_.name.c_str(), access.get()); },
                                 hdf5::last_errno));
  if (!dataset_) hdf5::fail(where_ + ": cannot be opened again");
  place_ = order().insert(order().begin(), this);
}

void LibraryBytes::require_unchanged(Look look) const {
  look == Look::now ? watch_.look() : watch_.look_now_and_then();
}

void LibraryBytes::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (out.empty()) return;
  const hdf5::LibraryLock lock;
  use();
  read_by_library(dataset_.get(), layout_, static_cast<std::size_t>(offset) / layout_.row_bytes(), out,
                  where_);
}

LibraryRows::LibraryRows(std::unique_ptr<const LibraryBytes> bytes, const DatasetLayout& layout,
                         std::string reason, std::vector<std::string> other_files)
    : bytes_(std::move(bytes)),
      layout_(layout),
      reason_(std::move(reason)),
      other_files_(std::move(other_files)) {}

std::size_t LibraryRows::rows_together() const {
  return layout_.chunk.empty() ? 1 : static_cast<std::size_t>(layout_.chunk[0]);
}

void LibraryRows::plan(std::size_t first, std::size_t count, ReadPlan& plan) const {
  const std::size_t row_bytes = layout_.row_bytes();
  plan.add(*bytes_, first * row_bytes, count * row_bytes);
}

void LibraryRows::decode(std::size_t first, std::size_t count, PlannedBytes& bytes,
                         const RowSink& sink) const {
  const std::size_t row_bytes = layout_.row_bytes();
  sink(0, count, bytes.next(*bytes_, first * row_bytes, count * row_bytes).data());
}

void LibraryRows::add_to(Hasher& hasher) const {
  const std::size_t rows = std::clamp<std::size_t>(kHashedEndBytes / layout_.row_bytes(), 1, layout_.rows());
  const auto add = [&](std::size_t first) {
    read(first, rows, [&](std::size_t, std::size_t count, const std::byte* bytes) {
      hasher.update({bytes, count * layout_.row_bytes()});
    });
  };
  add(0);
  add(layout_.rows() - rows);
}

}  // namespace bunchtrain::data
