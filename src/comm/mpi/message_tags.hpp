// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tags that keep messages from receives that they do not fit.

#include <mpi.h>

#include <cstdint>
#include <map>
#include <utility>

namespace bunchtrain::comm::detail {

/// Open MPI 4.1 writes long messages over the end of a buffer that is too small for them before it reports the error. So a tag also
/// says the how manieth of its peer and user's tag a message is, and a remainder of its bytes: what does not fit does not match.
/// Where an MPI has too few tags for that, they are the user's.
class MessageTags {
 public:
  /// @param comm of the messages
  explicit MessageTags(MPI_Comm comm);

  /// Of the next message, counted on both sides.
  int next_sent(int peer, int tag, std::int64_t bytes) { return next(sent_, peer, tag, bytes); }
  int next_received(int peer, int tag, std::int64_t bytes) { return next(received_, peer, tag, bytes); }

  /// Whether a message that has come is the one that is waited for, but for its size.
  bool differ_in_size(int came, int awaited) const noexcept {
    return came != awaited && came / sizes_ == awaited / sizes_ && sizes_ > 1;
  }

 private:
  using Counts = std::map<std::pair<int, int>, std::uint32_t>;
  int next(Counts& counts, int peer, int tag, std::int64_t bytes);

  int sizes_ = 1;  ///< told apart
  Counts sent_, received_;
};

}  // namespace bunchtrain::comm::detail
