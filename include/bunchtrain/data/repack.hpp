// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Writes data files again so that they are read fast: samples shuffled once, whole rows in aligned chunks, shards.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/shard_manifest.hpp"

namespace bunchtrain::data {

/// How chunks are compressed. Without a filter and with deflate any HDF5 reads them; zstd and lz4 need its plug-in there.
enum class RepackFilter { none, deflate, zstd, lz4 };

std::string_view to_string(RepackFilter filter) noexcept;
/// @throws ConfigError naming the filters.
RepackFilter parse_repack_filter(std::string_view text);

struct RepackOptions {
  std::vector<std::string> files = {};  ///< paths, globs, manifests: one layout
  std::filesystem::path out = {};       ///< a folder for the shards and manifest.json
  /// Which are written; empty: all. Each has one row per sample, or, in ragged files, the elements of all samples.
  std::vector<std::string> datasets = {};
  /// The dataset [samples + 1] that says which elements (hits, particles) belong to which sample. Empty: as [layout]
  /// of `card` says, else each row is a sample.
  std::string row_splits = {};
  std::int64_t shards = 1;
  std::int64_t alignment = 4096;  ///< bytes: where datasets and chunks begin in a file
  std::int64_t chunk_rows = 0;    ///< 0: about a MiB of the widest dataset; elements always in so much
  RepackFilter filter = RepackFilter::none;
  bool byte_shuffle = true;                ///< before the compression
  std::optional<std::uint64_t> seed = {};  ///< of the shuffle of all samples; nothing: they keep their order
  std::string card = {};  ///< for the manifest: a built-in name or a .toml file, which is copied
  std::int64_t memory_bytes = std::int64_t{1} << 30;  ///< for rows on their way
  bool force = false;                                 ///< begins anew where another repack has begun or ended
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};  ///< rows times datasets

  /// @throws ConfigError naming the field.
  void validate() const;
};

struct RepackResult {
  std::filesystem::path manifest = {};
  std::int64_t rows = 0;                           ///< samples
  std::int64_t elements = 0;                       ///< of ragged files
  std::int64_t bytes_read = 0, bytes_written = 0;  ///< sizes of the files
  std::int64_t kept_shards = 0;                    ///< finished by a repack that was interrupted
  std::string plugin = {};  ///< what other readers need: "zstd (32015)"; empty: nothing
};

/// Streams: memory holds `memory_bytes` of rows and of where they belong, and 8 bytes for each sample of ragged files;
/// with a seed the files are read once for each such part. A sample of any size is cut by rows and put together again.
/// Each shard has row splits of its own (int64). A shard appears whole or not at all, the manifest at the end; called
/// again after an interruption it keeps finished shards.
/// @throws ConfigError for options, files of different layouts, datasets that have rows neither of samples nor of
/// elements, an output that is an input or belongs to something else; DataError for row splits or counts that cannot
/// be; DataError, IoError as reading and writing do.
RepackResult repack(const RepackOptions& options);

}  // namespace bunchtrain::data
