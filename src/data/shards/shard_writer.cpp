// SPDX-License-Identifier: Apache-2.0
#include "shard_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/own_file.hpp"
#include "storage/codecs/codec.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;

constexpr unsigned kDeflateLevel = 4;

// HDF5 owns `*buffer` and gives it back to malloc.
std::size_t replace_buffer(void** buffer, std::size_t* capacity, std::span<const std::byte> bytes) {
  void* fresh = std::malloc(bytes.size());
  if (fresh == nullptr) return 0;
  std::memcpy(fresh, bytes.data(), bytes.size());
  std::free(*buffer);
  *buffer = fresh;
  *capacity = bytes.size();
  return bytes.size();
}

// Only writing: datasets are read by our own decoders.
template <const Codec& (*Which)() noexcept>
std::size_t compress_chunk(unsigned flags, std::size_t, const unsigned*, std::size_t bytes,
                           std::size_t* capacity, void** buffer) {
  if ((flags & H5Z_FLAG_REVERSE) != 0) return 0;
  try {
    return replace_buffer(buffer, capacity,
                          Which().compress({static_cast<const std::byte*>(*buffer), bytes}));
  } catch (const std::exception&) {
    return 0;  // HDF5 says that the filter failed
  }
}

const Codec* codec_of(RepackFilter filter) {
  if (filter == RepackFilter::zstd) return &zstd_codec();
  return filter == RepackFilter::lz4 ? &lz4_codec() : nullptr;
}

hdf5::File create_file(const AtomicFile& target, std::int64_t alignment) {
  const std::string what = "creating " + target.path().string();
  const hdf5::PropertyList access(check(H5Pcreate(H5P_FILE_ACCESS), what));
#if H5_VERSION_GE(1, 10, 7)
  check(H5Pset_file_locking(access.get(), false, true), what);
#endif
  const auto step = static_cast<hsize_t>(alignment);
  check(H5Pset_alignment(access.get(), step, step), what);
  const std::string name = target.temporary_path().string();
  return hdf5::File(check(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), what));
}

void mark_as_own(const hdf5::File& file, const std::string& text) {
  const hdf5::Datatype type(check(H5Tcopy(H5T_C_S1), "marking a shard"));
  check(H5Tset_size(type.get(), text.size()), "marking a shard");
  const hdf5::Dataspace space(check(H5Screate(H5S_SCALAR), "marking a shard"));
  const hdf5::Attribute attribute(
      check(H5Acreate2(file.get(), kOwnFileAttribute, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
            "marking a shard"));
  check(H5Awrite(attribute.get(), type.get(), text.data()), "marking a shard");
}

void store_in_chunks(hid_t create, const std::vector<hsize_t>& chunk, const RepackOptions& options,
                     const std::string& what) {
  check(H5Pset_chunk(create, static_cast<int>(chunk.size()), chunk.data()), what);
  if (options.filter != RepackFilter::none && options.byte_shuffle) check(H5Pset_shuffle(create), what);
  if (options.filter == RepackFilter::deflate) check(H5Pset_deflate(create, kDeflateLevel), what);
  if (const Codec* codec = codec_of(options.filter))
    check(H5Pset_filter(create, codec->filter, H5Z_FLAG_MANDATORY, 0, nullptr), what);
}

}  // namespace

WritableFilter::WritableFilter(RepackFilter filter) {
  const Codec* codec = codec_of(filter);
  if (codec == nullptr) return;
  const hdf5::LibraryLock lock;
  if (H5Zfilter_avail(codec->filter) > 0) return;
  const H5Z_class2_t writing = {
      H5Z_CLASS_T_VERS,
      codec->filter,
      1,
      0,
      codec->name.data(),
      nullptr,
      nullptr,
      filter == RepackFilter::zstd ? compress_chunk<zstd_codec> : compress_chunk<lz4_codec>};
  check(H5Zregister(&writing), "preparing the filter of the output");
  registered_ = codec->filter;
}

WritableFilter::~WritableFilter() {
  const hdf5::LibraryLock lock;
  if (registered_ >= 0) H5Zunregister(registered_);
}

ShardWriter::ShardWriter(const std::filesystem::path& path, const RepackOptions& options,
                         const std::string& kind)
    : target_(path), options_(options) {
  const hdf5::LibraryLock lock;
  file_ = create_file(target_, options.alignment);
  mark_as_own(file_, kind);
}

ShardWriter::~ShardWriter() {
  const hdf5::LibraryLock lock;
  file_.reset();
}

void ShardWriter::create(const TargetDataset& dataset, std::int64_t rows) {
  const hdf5::LibraryLock lock;
  const std::string what = fmt::format("writing {}, dataset '{}'", target_.path().string(), dataset.name);
  std::vector<hsize_t> shape = dataset.shape, chunk = dataset.shape;
  shape[0] = static_cast<hsize_t>(rows);
  chunk[0] = static_cast<hsize_t>(std::min(dataset.chunk_rows, rows));
  const hdf5::Dataspace space(
      check(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), what));
  const hdf5::PropertyList create(check(H5Pcreate(H5P_DATASET_CREATE), what));
  if (rows > 0) store_in_chunks(create.get(), chunk, options_, what);  // chunks of nothing there are none
  const hdf5::PropertyList links(check(H5Pcreate(H5P_LINK_CREATE), what));
  check(H5Pset_create_intermediate_group(links.get(), 1), what);
  const hdf5::Dataset created(check(H5Dcreate2(file_.get(), dataset.name.c_str(), dataset.type, space.get(),
                                               links.get(), create.get(), H5P_DEFAULT),
                                    what));
}

void ShardWriter::write(const TargetDataset& dataset, std::int64_t first, std::span<const std::byte> rows) {
  const hdf5::LibraryLock lock;
  const std::string what = fmt::format("writing {}, dataset '{}'", target_.path().string(), dataset.name);
  const hdf5::Dataset opened(check(H5Dopen2(file_.get(), dataset.name.c_str(), H5P_DEFAULT), what));
  std::vector<hsize_t> start(dataset.shape.size(), 0), count = dataset.shape;
  start[0] = static_cast<hsize_t>(first);
  count[0] = rows.size() / dataset.row_bytes;
  const hdf5::Dataspace space(check(H5Dget_space(opened.get()), what));
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr), what);
  const hdf5::Dataspace memory(
      check(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), what));
  check(H5Dwrite(opened.get(), dataset.type, memory.get(), space.get(), H5P_DEFAULT, rows.data()), what);
}

void ShardWriter::commit() {
  {
    const hdf5::LibraryLock lock;
    const std::string what = "writing " + target_.path().string();
    check(H5Fflush(file_.get(), H5F_SCOPE_LOCAL), what);
    check(H5Fclose(file_.release()), what);
  }
  target_.commit();
}

}  // namespace bunchtrain::data
