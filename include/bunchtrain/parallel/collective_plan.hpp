// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Chooses how gradients are summed, from their size and a measured latency and
/// bandwidth (DESIGN decision 4).

#include <cstdint>
#include <string>
#include <string_view>

#include "bunchtrain/comm/communicator.hpp"

namespace bunchtrain::parallel {

/// `automatic` measures latency and bandwidth once and chooses between one collective after backward and
/// several that overlap it.
enum class CollectivePlan { automatic, after_backward, buckets };

/// "auto", "after-backward" or "buckets".
std::string_view to_string(CollectivePlan plan) noexcept;
/// @throws ConfigError with the names allowed.
CollectivePlan parse_collective_plan(std::string_view text);

/// Time of an all-reduce of n bytes: latency + n / bandwidth.
struct LinkFit {
  double latency_seconds = 0;
  double bytes_per_second = 0;
};

/// A decision, the same on all ranks.
struct BucketPlan {
  CollectivePlan kind = CollectivePlan::after_backward;  ///< never `automatic`
  std::int64_t bucket_bytes = 0;                         ///< least size of a bucket; 0 = one per arena
  std::string description = {};                          ///< for the log and run.json
};

/// Collective: times a small and a large all-reduce on `device`; the slowest rank
/// counts. Tens of milliseconds.
LinkFit measure_link(comm::Communicator& communicator, c10::Device device);

/// Pure. Small gradients go in one collective; larger ones in as many buckets as balance the last bucket's
/// time, which nothing hides, against the latency of each.
/// @param bucket_bytes wished size, 0 = from the fit
BucketPlan make_plan(const LinkFit& fit, std::int64_t gradient_bytes, CollectivePlan wish,
                     std::int64_t bucket_bytes);

}  // namespace bunchtrain::parallel
