// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Memory into which the bytes of read plans are fetched.

#include "engine.hpp"
#include "growing_buffer.hpp"

namespace bunchtrain::data::io {

/// The bytes of one plan after the other, in the same memory: fresh pages for each would cost more than the
/// copy into them. Not thread-safe.
class Slab {
 public:
  /// Fetches `plan`, which must live as long as what is returned; that lives until the next call.
  /// @throws as `io::fetch`
  PlannedBytes fetch(const ReadPlan& plan) { return fetch(plan, plan); }
  /// The same bytes from other sources. @pre the pieces of `from` have the sizes of those of `plan`
  PlannedBytes fetch(const ReadPlan& plan, const ReadPlan& from) {
    const auto bytes = buffer_.take(static_cast<std::size_t>(plan.bytes()));
    io::fetch(from, bytes);
    return {plan, bytes};
  }

 private:
  GrowingBuffer buffer_;
};

/// The calling thread's own.
inline Slab& thread_slab() {
  thread_local Slab slab;
  return slab;
}

}  // namespace bunchtrain::data::io
