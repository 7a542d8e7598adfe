// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One shard under construction: an HDF5 file of datasets in aligned chunks of whole rows.

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/data/repack.hpp"
#include "hdf5_library.hpp"

namespace bunchtrain::data {

/// What the rows of a dataset are: one for each sample, or the elements (hits, particles) of all samples one behind
/// another.
enum class RowAxis : std::uint8_t { samples, elements };
inline constexpr std::array kRowAxes = {RowAxis::samples, RowAxis::elements};

/// A dataset of the output: type and extents of the source's.
struct TargetDataset {
  std::string name;
  hid_t type = H5I_INVALID_HID;  ///< stored and in memory: bytes are not converted
  std::vector<hsize_t> shape;    ///< of a source; the first extent is replaced
  std::size_t row_bytes = 0;
  std::int64_t chunk_rows = 1;
  RowAxis axis = RowAxis::samples;
};

/// While it lives HDF5 can write (and read) the filter. Not two of one filter at once.
class WritableFilter {
 public:
  explicit WritableFilter(RepackFilter filter);
  ~WritableFilter();
  WritableFilter(const WritableFilter&) = delete;
  WritableFilter& operator=(const WritableFilter&) = delete;

 private:
  int registered_ = -1;
};

/// Not thread-safe. The file appears by `commit`.
class ShardWriter {
 public:
  /// @throws DataError, IoError with the system's reason.
  /// @param options live on @param kind by which the file is known as ours (own_file.hpp)
  ShardWriter(const std::filesystem::path& path, const RepackOptions& options, const std::string& kind);
  ~ShardWriter();

  void create(const TargetDataset& dataset, std::int64_t rows);
  /// Whole rows from the `first`-th on.
  void write(const TargetDataset& dataset, std::int64_t first, std::span<const std::byte> rows);
  void commit();

 private:
  AtomicFile target_;
  const RepackOptions& options_;
  hdf5::File file_;
};

}  // namespace bunchtrain::data
