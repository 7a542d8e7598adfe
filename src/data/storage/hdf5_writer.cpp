// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/hdf5_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/own_file.hpp"
#include "hdf5_library.hpp"
#include "hdf5_types.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

std::unique_ptr<AtomicFile> create_temporary(const std::filesystem::path& path) {
  try {
    return std::make_unique<AtomicFile>(path);
  } catch (const CheckpointError& error) {
    throw DataError(error.message());
  }
}

hdf5::File create_file(const AtomicFile& target) {
  const hdf5::PropertyList access(check(H5Pcreate(H5P_FILE_ACCESS), "creating an HDF5 file"));
#if H5_VERSION_GE(1, 10, 7)
  check(H5Pset_file_locking(access.get(), false, true), "creating an HDF5 file");
#endif
  const std::string name = target.temporary_path().string();
  return hdf5::File(check(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()),
                          "creating " + target.path().string()));
}

hdf5::PropertyList make_link_properties() {
  hdf5::PropertyList links(check(H5Pcreate(H5P_LINK_CREATE), "creating an HDF5 property list"));
  check(H5Pset_create_intermediate_group(links.get(), 1), "creating an HDF5 property list");
  return links;
}

// Where one column lies in a compound row.
struct PlacedColumn {
  const CompoundColumn* column;
  hid_t type;
  std::size_t offset, size, rows;
};

PlacedColumn place(const CompoundColumn& column, std::size_t offset) {
  const int used = !column.reals.empty() + !column.integers.empty() + !column.flags.empty();
  expects(used <= 1,
          fmt::format("column '{}': exactly one of reals, integers, flags may hold values", column.name));
  expects(column.real_bytes == 4 || column.real_bytes == 8,
          fmt::format("column '{}': real_bytes is {}, allowed are 4 and 8", column.name, column.real_bytes));
  if (!column.integers.empty()) return {&column, H5T_NATIVE_INT64, offset, 8, column.integers.size()};
  if (!column.flags.empty()) return {&column, H5T_NATIVE_UINT8, offset, 1, column.flags.size()};
  const auto type = column.real_bytes == 4 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  return {&column, type, offset, static_cast<std::size_t>(column.real_bytes), column.reals.size()};
}

void store(const PlacedColumn& placed, std::size_t row, std::byte* target) {
  const CompoundColumn& column = *placed.column;
  if (!column.integers.empty()) {
    std::memcpy(target, &column.integers[row], 8);
  } else if (!column.flags.empty()) {
    std::memcpy(target, &column.flags[row], 1);
  } else if (column.real_bytes == 8) {
    std::memcpy(target, &column.reals[row], 8);
  } else {
    const auto narrow = static_cast<float>(column.reals[row]);
    std::memcpy(target, &narrow, 4);
  }
}

}  // namespace

struct Hdf5Writer::Impl {
  std::unique_ptr<AtomicFile> target;
  hdf5::File file;
  std::map<std::string, at::ScalarType, std::less<>> types;
  std::optional<OutputFile> output;

  std::string label(std::string_view dataset) const {
    return fmt::format("writing {}, dataset '{}'", target->path().string(), dataset);
  }
  void write_rows(const hdf5::Dataset& dataset, std::string_view name, hsize_t first,
                  const at::Tensor& rows) const;
};

Hdf5Writer::Hdf5Writer(std::filesystem::path path) : impl_(std::make_unique<Impl>()) {
  const hdf5::LibraryLock lock;
  impl_->target = create_temporary(path);
  impl_->file = create_file(*impl_->target);
}

Hdf5Writer::Hdf5Writer(OutputFile output, std::string_view kind) : impl_(std::make_unique<Impl>()) {
  if (!output.is_own)
    output.is_own = [kind = std::string(kind)](const auto& path) { return is_own_file(path, kind); };
  require_writable_output(output);
  const hdf5::LibraryLock lock;
  impl_->target = create_temporary(output.path);
  impl_->file = create_file(*impl_->target);
  impl_->output = std::move(output);
  write_attribute("/", kOwnFileAttribute, kind);
}

Hdf5Writer::~Hdf5Writer() {
  const hdf5::LibraryLock lock;
  impl_->file.reset();
}

void Hdf5Writer::create_dataset(std::string_view name, const at::Tensor& first_rows, std::int64_t chunk_rows,
                                int deflate_level) {
  expects(first_rows.dim() >= 1, fmt::format("dataset '{}': rows need at least one axis", name));
  expects(chunk_rows > 0, fmt::format("dataset '{}': chunk_rows is {}, must be positive", name, chunk_rows));
  expects(deflate_level >= 0 && deflate_level <= 9,
          fmt::format("dataset '{}': deflate_level is {}, allowed are 0 to 9", name, deflate_level));
  const hdf5::LibraryLock lock;
  const std::string what = impl_->label(name);
  std::vector<hsize_t> shape(first_rows.sizes().begin(), first_rows.sizes().end());
  std::vector<hsize_t> limit = shape;
  std::vector<hsize_t> chunk = shape;
  limit[0] = H5S_UNLIMITED;
  chunk[0] = static_cast<hsize_t>(chunk_rows);
  for (auto& extent : chunk) extent = std::max<hsize_t>(extent, 1);

  const hdf5::Dataspace space(
      check(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), limit.data()), what));
  const hdf5::PropertyList create(check(H5Pcreate(H5P_DATASET_CREATE), what));
  check(H5Pset_chunk(create.get(), static_cast<int>(chunk.size()), chunk.data()), what);
  if (deflate_level > 0) {
    check(H5Pset_shuffle(create.get()), what);
    check(H5Pset_deflate(create.get(), static_cast<unsigned>(deflate_level)), what);
  }
  const auto links = make_link_properties();
  const auto type = hdf5::type_of(first_rows.scalar_type());
  const hdf5::Dataset dataset(check(H5Dcreate2(impl_->file.get(), std::string(name).c_str(), type.get(),
                                               space.get(), links.get(), create.get(), H5P_DEFAULT),
                                    what));
  impl_->types[std::string(name)] = first_rows.scalar_type();
  impl_->write_rows(dataset, name, 0, first_rows);
}

void Hdf5Writer::append(std::string_view name, const at::Tensor& rows) {
  const hdf5::LibraryLock lock;
  const auto known = impl_->types.find(name);
  expects(known != impl_->types.end(), fmt::format("dataset '{}' was not created by this writer", name));
  expects(known->second == rows.scalar_type(),
          fmt::format("dataset '{}' holds {}, the rows appended are {}", name, c10::toString(known->second),
                      c10::toString(rows.scalar_type())));
  const std::string what = impl_->label(name);
  const hdf5::Dataset dataset(check(H5Dopen2(impl_->file.get(), known->first.c_str(), H5P_DEFAULT), what));
  const hdf5::Dataspace space(check(H5Dget_space(dataset.get()), what));
  std::vector<hsize_t> shape(static_cast<std::size_t>(check(H5Sget_simple_extent_ndims(space.get()), what)));
  check(H5Sget_simple_extent_dims(space.get(), shape.data(), nullptr), what);
  const bool fits = rows.dim() == static_cast<std::int64_t>(shape.size()) &&
                    std::equal(shape.begin() + 1, shape.end(), rows.sizes().begin() + 1,
                               [](hsize_t a, std::int64_t b) { return a == static_cast<hsize_t>(b); });
  expects(fits, fmt::format("dataset '{}': the rows appended differ in shape from those it was created with",
                            name));
  const hsize_t first = shape[0];
  shape[0] += static_cast<hsize_t>(rows.size(0));
  check(H5Dset_extent(dataset.get(), shape.data()), what);
  impl_->write_rows(dataset, name, first, rows);
}

void Hdf5Writer::Impl::write_rows(const hdf5::Dataset& dataset, std::string_view name, hsize_t first,
                                  const at::Tensor& rows) const {
  if (rows.numel() == 0) return;
  const std::string what = label(name);
  const at::Tensor values = rows.cpu().contiguous();
  std::vector<hsize_t> count(values.sizes().begin(), values.sizes().end());
  std::vector<hsize_t> start(count.size(), 0);
  start[0] = first;
  const hdf5::Dataspace space(check(H5Dget_space(dataset.get()), what));
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr), what);
  const hdf5::Dataspace memory(
      check(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), what));
  const auto type = hdf5::type_of(values.scalar_type());
  check(H5Dwrite(dataset.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, values.const_data_ptr()),
        what);
}

void Hdf5Writer::write_compound(std::string_view name, std::span<const CompoundColumn> columns) {
  expects(!columns.empty(), fmt::format("compound dataset '{}' needs at least one column", name));
  std::vector<PlacedColumn> placed;
  std::size_t row_bytes = 0;
  for (const auto& column : columns) {
    placed.push_back(place(column, row_bytes));
    row_bytes += placed.back().size;
    expects(placed.back().rows == placed.front().rows,
            fmt::format("column '{}' has {} rows, column '{}' has {}", column.name, placed.back().rows,
                        columns.front().name, placed.front().rows));
  }
  const std::size_t rows = placed.front().rows;
  std::vector<std::byte> bytes(rows * row_bytes);
  for (std::size_t row = 0; row < rows; ++row)
    for (const auto& column : placed) store(column, row, bytes.data() + row * row_bytes + column.offset);

  const hdf5::LibraryLock lock;
  const std::string what = impl_->label(name);
  const hdf5::Datatype type(check(H5Tcreate(H5T_COMPOUND, row_bytes), what));
  for (const auto& column : placed)
    check(H5Tinsert(type.get(), column.column->name.c_str(), column.offset, column.type), what);
  const hsize_t extent = rows;
  const hdf5::Dataspace space(check(H5Screate_simple(1, &extent, nullptr), what));
  const auto links = make_link_properties();
  const hdf5::Dataset dataset(check(H5Dcreate2(impl_->file.get(), std::string(name).c_str(), type.get(),
                                               space.get(), links.get(), H5P_DEFAULT, H5P_DEFAULT),
                                    what));
  if (rows > 0) check(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), what);
}

void Hdf5Writer::write_attribute(std::string_view object, std::string_view name, std::string_view value) {
  const hdf5::LibraryLock lock;
  const std::string what =
      fmt::format("writing {}, attribute '{}' of '{}'", impl_->target->path().string(), name, object);
  const hdf5::Object owner(check(H5Oopen(impl_->file.get(), std::string(object).c_str(), H5P_DEFAULT), what));
  const hdf5::Datatype type(check(H5Tcopy(H5T_C_S1), what));
  check(H5Tset_size(type.get(), std::max<std::size_t>(value.size(), 1)), what);
  check(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), what);
  check(H5Tset_cset(type.get(), H5T_CSET_UTF8), what);
  const hdf5::Dataspace space(check(H5Screate(H5S_SCALAR), what));
  const hdf5::Attribute attribute(check(
      H5Acreate2(owner.get(), std::string(name).c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
      what));
  const std::string text = value.empty() ? std::string(1, '\0') : std::string(value);
  check(H5Awrite(attribute.get(), type.get(), text.data()), what);
}

void Hdf5Writer::commit() {
  {
    const hdf5::LibraryLock lock;
    expects(static_cast<bool>(impl_->file), "an HDF5 file can be committed once");
    // Flushed first: a close that fails for want of space would leave the library with
    // a file it cannot let go.
    const std::string what = "writing " + impl_->target->path().string();
    check(H5Fflush(impl_->file.get(), H5F_SCOPE_LOCAL), what);
    check(H5Fclose(impl_->file.release()), what);
  }
  if (impl_->output) require_writable_output(*impl_->output);
  try {
    impl_->target->commit();
  } catch (const Error& error) {
    throw DataError(error.message());
  }
}

}  // namespace bunchtrain::data
