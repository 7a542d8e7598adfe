// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sums the gradients of arenas over ranks, bucket by bucket, while backward goes on.

#include <cstdint>
#include <memory>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace bunchtrain::parallel {

/// A stretch of one arena's gradients that one collective sums. The last bucket of an arena holds its footer.
struct Bucket {
  std::size_t arena;
  std::size_t first_segment;
  std::size_t last_segment;  ///< one past
  std::int64_t begin;        ///< elements
  std::int64_t end;
};

/// Pure: whole parameters in arena order, at least `bucket_bytes` each (0 = one bucket per arena). Too little
/// left for a bucket of its own joins the one before.
std::vector<Bucket> make_buckets(const tensor::ParameterArenas& arenas, std::int64_t bucket_bytes);

/// Hooks on the gradients of all parameters; inert unless armed.
///
/// A bucket starts when its gradients are there and all earlier buckets have started: one order on all ranks,
/// whatever order a rank's backward takes. On the CPU the hooks also pump the collectives before, which MPI
/// needs. Collectives are issued only by the thread that made this object: gradients that arrive on another
/// one start theirs in `finish`. The arenas must outlive it. Use from one thread.
class GradientBuckets {
 public:
  GradientBuckets(tensor::ParameterArenas& arenas, comm::Communicator communicator,
                  std::int64_t bucket_bytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Before the last backward of a step; `overlap` lets hooks start buckets (exactly one
  /// backward must follow then).
  void arm(bool overlap);
  /// Collective: starts what is left, waits for all.
  void finish();
  /// After a failed backward: hooks are inert again; collectives in flight still write into the gradients.
  void disarm() noexcept;
  /// Lets go of what autograd adds gradients up by, which belongs to the stream that was current when a pass first used it:
  /// before the forward of a pass on another stream.
  void release();
  /// Collective: awaits what a failed pass left in flight. Call before touching the gradients again.
  void drain();

  /// Seconds since `arm` that the issuing thread spent on collectives; on a GPU those that its stream, with
  /// backward done, waited for them.
  const device::LateSeconds& exposed() const noexcept;
  const std::vector<Bucket>& buckets() const noexcept;
  /// Buckets that hooks started in the last step, for tests and logs.
  std::size_t started_early() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::parallel
