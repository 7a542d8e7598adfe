// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which sample stands at which position of an epoch: a pure function of (seed, epoch, position) (DESIGN decision 5).

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
/// V virtual streams each own whole chunks; position p belongs to stream p mod V as long as all streams last. Every sample
/// occurs exactly once. V depends on data and seed only. Samples are shuffled within a window of several chunks of a stream.
/// Immutable, thread-safe.
class EpochOrder {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::int64_t epoch = 0;
    std::int64_t streams = 8;         ///< V
    std::int64_t window_samples = 0;  ///< shuffle window per epoch over all streams; 0 = all samples
    bool shuffle = true;              ///< false: samples in stored order (validation)
  };
  /// @param ranges chunks in stored order, together the samples of this split.
  EpochOrder(std::span<const SampleRange> ranges, const Options& options);
  ~EpochOrder();
  EpochOrder(EpochOrder&&) noexcept;
  EpochOrder& operator=(EpochOrder&&) noexcept;

  std::int64_t size() const noexcept;
  std::int64_t operator[](std::int64_t position) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
