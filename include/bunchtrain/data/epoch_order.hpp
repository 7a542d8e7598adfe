// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which sample stands at which position of an epoch: a pure function of (seed, epoch,
/// position) (DESIGN decision 5).

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace bunchtrain::data {

/// A run of samples that is read and decoded together (an HDF5 chunk, or part of one file).
struct SampleRange {
  std::int64_t first;  ///< sample number of its first sample
  std::int64_t count;
};

/// A permutation of all samples for one epoch, the same for any world size and thread count.
///
/// V virtual streams each own whole chunks; position p belongs to stream p mod V as long as all streams
/// last. Every sample occurs exactly once. V depends on data and seed only. Samples are shuffled within
/// a window of several chunks of a stream. Memory is proportional to the number of chunks, not of
/// samples. Immutable, thread-safe.
class EpochOrder {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::int64_t epoch = 0;
    std::int64_t streams = 8;         ///< V; fewer if there are fewer chunks
    std::int64_t window_samples = 0;  ///< shuffle window per epoch over all streams; 0 = all samples
    bool shuffle = true;              ///< false: samples in stored order (validation)
  };
  /// Where a chunk's samples stand: they occur at no position outside [first, last].
  struct Residence {
    std::int64_t stream;
    std::int64_t first;
    std::int64_t last;
  };

  /// @param ranges chunks in stored order, together the samples of this split; copied. @throws ConfigError
  /// for options < 0
  EpochOrder(std::span<const SampleRange> ranges, const Options& options);
  ~EpochOrder();
  EpochOrder(EpochOrder&&) noexcept;
  EpochOrder& operator=(EpochOrder&&) noexcept;

  std::int64_t size() const noexcept;
  std::int64_t streams() const noexcept;
  /// The sample at `position`. @pre 0 <= position < size()
  std::int64_t operator[](std::int64_t position) const;

  /// For loaders: chunks (indices into `ranges`, empty ones left out) by the position
  /// from which they are needed.
  std::span<const std::size_t> reading_order() const noexcept;
  Residence residence(std::size_t range) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The V and the shuffle window that a loader takes for data of this kind: functions of the data and the
/// batch alone, never of ranks, threads or memory. 65,536 samples (or eight batches) are mixed if they take
/// 128 MiB at most when decoded, else as many as do, at least two batches.
EpochOrder::Options choose_order(std::span<const SampleRange> ranges, std::int64_t sample_bytes,
                                 std::int64_t global_batch);

}  // namespace bunchtrain::data
