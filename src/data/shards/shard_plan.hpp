// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which rows of the files lie where in the shards of a repack.

#include <cstdint>
#include <vector>

#include "bunchtrain/data/repack.hpp"
#include "loader/index_permutation.hpp"
#include "repack_sources.hpp"

namespace bunchtrain::data {

/// Rows of one shard that are written together.
struct Segment {
  std::size_t shard;
  std::int64_t first, count;
};

/// Segments that fit into memory together.
struct Window {
  RowAxis axis;
  std::vector<Segment> segments;
};

/// Samples are shuffled and cut into shards of equal numbers; their elements go with them. Immutable, thread-safe.
class ShardPlan {
 public:
  /// @param sources, options live on
  ShardPlan(const RepackSources& sources, const RepackOptions& options);

  std::size_t shards() const noexcept { return elements_.size(); }
  std::int64_t rows(RowAxis axis, std::size_t shard) const;
  /// Of the elements of a shard [samples + 1]. @pre ragged
  std::vector<std::int64_t> row_splits(std::size_t shard) const;
  /// What is to be written, by shard: each segment begins where chunks of all datasets of its axis do. All shards have
  /// segments of samples.
  std::vector<Window> cut(const std::vector<bool>& finished) const;
  /// The rows of a window behind one another, ascending by their place in the files.
  std::vector<WantedRows> wanted_by(const Window& window) const;

 private:
  std::int64_t first_of(std::size_t shard) const;
  std::size_t source_of(std::int64_t sample) const;
  std::int64_t rows_in_memory(RowAxis axis, std::int64_t unit) const;
  void cut(RowAxis axis, const std::vector<bool>& finished, std::vector<Window>& windows) const;
  void add_samples(const Segment& segment, std::vector<WantedRows>& wanted) const;
  void add_elements(const Segment& segment, std::vector<WantedRows>& wanted) const;

  const RepackSources& sources_;
  const RepackOptions& options_;
  IndexPermutation shuffled_;
  std::vector<std::int64_t> elements_;  ///< of each shard
};

}  // namespace bunchtrain::data
